package console

import (
	"context"
	"fmt"
	"math"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A scene is the page of a script, with some time behind it.
type scene struct {
	*script
	history *History
	url     string
	stop    func() // ends what the page lives on, but not the server
}

func newScene(t *testing.T, behind time.Duration) *scene {
	t.Helper()
	c, source := played(behind)
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { c.Run(ctx) })
	stop := func() { cancel(); run.Wait() }
	server := httptest.NewServer(c)
	t.Cleanup(func() { stop(); server.Close() })
	return &scene{source, c.history, server.URL, stop}
}

// drawn is true once the page shows a status and charts.
const drawn = `document.querySelectorAll("#members tbody tr").length === 5 && document.querySelector("#chart-times .plot path")?.getAttribute("d").length > 100`

func TestThePage(t *testing.T) {
	b := startBrowser(t)
	for _, claim := range []struct {
		name string
		test func(*testing.T, *browser)
	}{
		{"ShowsTheFiguresOfTheSource", showsFigures},
		{"FollowsTheSourceWithoutReload", followsSource},
		{"SaysWhereAKeyIs", saysWhere},
		{"TakesKeysForText", takesKeysForText},
		{"SaysInWordsWhatIsNotThere", saysWhatIsNotThere},
		{"SaysThatItHasLostTheNode", saysThatItHasLost},
		{"FitsAPhone", fitsAPhone},
		{"CanBeReadInBothSchemes", canBeRead},
		{"IsUsedByKeyboard", isUsedByKeyboard},
		{"FiltersSettings", filtersSettings},
	} {
		t.Run(claim.name, func(t *testing.T) {
			t.Parallel() // they mostly wait for the next second
			claim.test(t, b)
		})
	}
}

// shows fails the test if an expression of the page has another value.
func (p *tab) shows(expression, want string) {
	p.t.Helper()
	if got := p.text(expression); got != want {
		p.t.Errorf("%s is %q, want %q", expression, got, want)
	}
}

func showsFigures(t *testing.T, b *browser) {
	s := newScene(t, 5*time.Minute)
	s.set(func(status *Status) {
		status.Checks[5] = Check{Name: "origin", Says: true, Text: "has not answered for 3s"}
	})
	p := b.open(t, s.url, 1440, 1000, "light")
	p.until(drawn)
	cell := func(panel string, row, column int) string {
		return fmt.Sprintf(`document.querySelector("#%s tbody").rows[%d].cells[%d].textContent`, panel, row, column)
	}
	title := func(panel string, row, column int) string {
		return strings.Replace(cell(panel, row, column), ".textContent", `.querySelector("[title]").title`, 1)
	}
	p.shows(`document.title`, "build-eu-1 – micelio")
	p.shows(`document.getElementById("node-state").textContent`, "ready")
	p.shows(`[...document.querySelectorAll("#node-facts dd")].map(d => d.textContent).join(", ")`, "forge-production, v1.3.0 (c66aa6d8e), 3 d 4 h, 91ab3c77 · all agree, micelio, 10.4.0.11:8080")
	p.shows(`document.getElementById("ready-line").textContent`, "Ready: 7 of 8 checks pass; origin – has not answered for 3s")
	p.shows(cell("answers", 1, 0), "ram")
	p.shows(cell("tiers", 1, 1), "3.71 GiB of 4 GiB")
	p.shows(cell("tiers", 0, 0)+" + "+cell("tiers", 0, 3)+" + "+cell("tiers", 0, 4), "hot––") // it counts no look-ups
	p.shows(title("tiers", 1, 1), "3,984,588,800 of 4,294,967,296 bytes, 92.8%")
	p.shows(cell("members", 3, 6), "open")
	p.shows(cell("members", 3, 8), "read tcp 10.4.0.11:50122->10.4.0.14:8081: connection reset by peer")
	p.shows(cell("fills", 1, 2), "8.01 MiB of 11.4 MiB")
	p.shows(cell("hot", 0, 3), "812/s")
	p.shows(`document.querySelector("#hot tbody").rows[3].cells[0].innerHTML.replace(/ title=".*"/, "")`, `<span class="key">sessions/~5f3a9c01</span>`)
	p.shows(`document.querySelectorAll("#upstreams li")[1].textContent`, "cdn half-open 1 in flighthttps://cdn.forge.example/ok 91ktimeout 41wrong length 3one request in ten tries it until it is well")
	p.shows(cell("slow", 4, 4), "503")
	p.shows(`document.querySelector("#settings tbody").rows[0].textContent`, "name10.4.0.11:8080flag --name")
	// Each of the six figures and of the six charts has something to say.
	if n := p.eval(`[...document.querySelectorAll(".card .value")].filter(v => /^\d/.test(v.textContent)).length`); n != 6.0 {
		t.Errorf("%v cards have a figure", n)
	}
	if n := p.eval(`[...document.querySelectorAll("figure")].filter(f => f.querySelector(".plot path").getAttribute("d").length > 100 && /\d/.test(f.querySelector(".keys b").textContent)).length`); n != 6.0 {
		t.Errorf("%v charts have a curve and its last value", n)
	}
	p.faultless(s.url)
}

func followsSource(t *testing.T, b *browser) {
	s := newScene(t, 5*time.Minute)
	p := b.open(t, s.url, 1440, 1000, "light")
	p.until(drawn)
	p.eval(`window.marker = document.querySelector("#members tbody tr"); document.querySelector("#members .scroll").focus()`)
	intervals := `document.querySelector("#chart-requests .plot").getAttribute("aria-valuemax")`
	before := p.text(intervals)
	s.set(func(status *Status) {
		status.Node.State = "draining"
		status.Fills, status.FillCount = status.Fills[:1], 1
		status.Fills[0].Readers = 4711
		status.Ring.Members = status.Ring.Members[:4]
		status.Ring.Agreed = false
	})
	p.until(`document.getElementById("node-state").textContent === "draining"`)
	s.history.sample(s.Counters()) // rather than wait for the next
	p.until(intervals + " !== " + `"` + before + `"`)
	p.shows(`document.querySelector("#fills tbody").rows[0].cells[3].textContent`, "4,711")
	p.shows(`document.getElementById("members-note").textContent`, "4 in the ring, not all agree on epoch 91ab3c77d2e01f54")
	if p.eval(`window.marker === document.querySelector("#members tbody").rows[0] && document.querySelector("#members tbody").rows.length === 4 && document.activeElement === document.querySelector("#members .scroll")`) != true {
		t.Error("an update has replaced what did not change")
	}
	p.eval(`document.getElementById("pause").click()`)
	p.shows(`document.getElementById("live-state").textContent`, "paused")
	s.set(func(status *Status) { status.Node.State = "ready" })
	p.until(`document.getElementById("live-age").textContent.endsWith(" s ago")`)
	p.shows(`document.getElementById("node-state").textContent`, "draining")
	p.eval(`document.getElementById("pause").click()`)
	p.until(`document.getElementById("node-state").textContent === "ready"`)
	// A node that cannot say how it is says so until it can.
	s.set(func(status *Status) { status.Node.CPUSeconds = math.NaN() })
	p.until(`/\d s ago$/.test(document.getElementById("live-age").textContent)`)
	p.until(`document.getElementById("live-state").textContent.startsWith("the node cannot say how it is: ")`)
	p.until(`/[3-9] s ago$/.test(document.getElementById("live-age").textContent)`)
	if state := p.text(`document.getElementById("live-state").textContent`); !strings.HasPrefix(state, "the node cannot say how it is: ") {
		t.Errorf("seconds later it is %q", state)
	}
	s.set(func(status *Status) {})
	p.until(`document.getElementById("live-state").textContent === "live"`)
	p.faultless(s.url)
}

func saysWhere(t *testing.T, b *browser) {
	s := newScene(t, 5*time.Minute)
	p := b.open(t, s.url+"/#key=artifacts%2Fsha256%3Aab", 1440, 1000, "light")
	table := `document.querySelector("#where tbody")`
	p.until(table + ".rows.length === 5")
	p.shows(`document.querySelector("#where .asked code").textContent`, "artifacts/sha256:ab")
	p.shows(`[...document.querySelectorAll("#where .facts dd")].map(d => d.textContent).join(", ")`,
		"verified, build-eu-2, build-eu-2 → build-eu-5 → build-eu-1, no time at all, 10934, 91ab3c77d2e01f54, 2 of 5 members")
	p.shows(table+`.rows[1].textContent`, `build-eu-2 ownerram, ssd1.41 MiB2 h 15 min"9bb58f26192e4ba00f01e2e7b136bbd8"`)
	p.shows(table+`.rows[2].textContent`, "build-eu-3no copy")
	p.shows(table+`.rows[3].textContent`, "build-eu-4not knownconnection refused")
	p.until(drawn)
	// Keys lead there.
	p.eval(`document.querySelector("#slow tbody a.key").click()`)
	key := "artifacts/sha256:" + digest(20)
	p.until(fmt.Sprintf(`document.querySelector("#where .asked code").textContent === %q && %s.rows.length === 5`, key, table))
	p.shows(`location.hash`, "#key=artifacts%2Fsha256%3A"+digest(20))
	// What is no key is said to be none.
	p.eval(`document.getElementById("find-key").value = "/a"; document.getElementById("find").requestSubmit()`)
	p.until(`document.querySelector("#where .fault").textContent === "object: invalid key: begins with /"`)
	p.eval(`history.back()`)
	p.until(fmt.Sprintf(`document.querySelector("#where .asked code").textContent === %q`, key))
	p.eval(`document.getElementById("where-close").click()`)
	p.until(`document.getElementById("where").hidden && location.hash === ""`)
	p.noted.Lock()
	p.faults = nil // a browser logs that an answer was 400
	p.noted.Unlock()
	p.faultless(s.url)
}

func takesKeysForText(t *testing.T, b *browser) {
	s := newScene(t, 5*time.Minute)
	s.set(func(status *Status) {
		status.Node.ID, status.Ring.Members[1].ID, status.Settings[0].Value, status.Checks[0].Text, status.Upstreams[0].Place = hostile, hostile, hostile, hostile, hostile
		status.Slow[0].Trace, status.Tiers[0].Name, status.Answers[0].From = hostile, hostile, hostile
	})
	p := b.open(t, s.url+"/", 1440, 1000, "light")
	p.until(drawn)
	p.eval(`document.querySelectorAll("#fills a.key")[2].click()`)
	p.until(`document.querySelector("#where .asked code").textContent === document.getElementById("node-id").textContent`)
	p.shows(`document.getElementById("node-id").textContent`, hostile)
	p.shows(`document.querySelectorAll("#fills a.key")[2].textContent`, hostile)
	p.shows(`document.title`, hostile+" – micelio")
	if n := p.eval(`document.querySelectorAll("img, script").length`); n != 3.0 {
		t.Errorf("the page has %v images and scripts, want its own three", n)
	}
	p.faultless(s.url)
}

func saysWhatIsNotThere(t *testing.T, b *browser) {
	s := newScene(t, 5*time.Minute)
	s.set(func(status *Status) {
		*status = Status{At: status.At, Node: Node{ID: "alone", Started: status.At}}
	})
	p := b.open(t, s.url, 1440, 1000, "light")
	p.until(`document.getElementById("node-id").textContent === "alone"`)
	for panel, want := range map[string]string{
		"answers": "no answers yet", "tiers": "this node runs without tiers: every read goes to the origin", "members": "no members: this node is in no ring",
		"fills": "no fills in flight", "hot": "no key is read much", "upstreams": "no upstream is known yet", "slow": "no requests in the last hour", "settings": "no setting matches",
	} {
		p.shows(fmt.Sprintf(`document.getElementById(%q).textContent`, panel), want)
	}
	p.faultless(s.url)
}

func saysThatItHasLost(t *testing.T, b *browser) {
	s := newScene(t, 5*time.Minute)
	p := b.open(t, s.url, 1440, 1000, "light")
	p.until(drawn + ` && document.getElementById("live-state").textContent === "live"`)
	s.stop()
	p.until(`document.getElementById("live-state").textContent === "reconnecting…" && document.getElementById("live-age").textContent.startsWith("figures of ")`)
}

func fitsAPhone(t *testing.T, b *browser) {
	s := newScene(t, 5*time.Minute)
	for _, width := range []int{360, 820} {
		p := b.open(t, s.url+"/#key=artifacts%2Fsha256%3A"+digest(3), width, 740, "light")
		p.until(drawn + ` && document.querySelector("#where tbody")`)
		p.eval(`document.getElementById("ready").open = true`)
		if got := p.eval(`document.documentElement.scrollWidth - document.documentElement.clientWidth`); got != 0.0 {
			t.Errorf("at %d pixels the page is %v wider than its window", width, got)
		}
		// Nor does anything stick out of what it is in, unless that scrolls.
		out := p.text(`[...document.querySelectorAll("main *, header *")].filter(n => !n.closest(".scroll, svg, .hide, .key, #find label, .plot") &&
			n.getBoundingClientRect().right > innerWidth + 1).map(n => n.tagName + "." + n.className + " " + n.textContent.slice(0, 40)).join("\n")`)
		if out != "" {
			t.Errorf("at %d pixels these stick out:\n%s", width, out)
		}
		p.faultless(s.url)
	}
}

// contrast is the lowest contrast of a text to what is behind it, as WCAG 2.2
// defines it in 1.4.3, with the text.
const contrast = `(() => {
	const parse = text => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
	const over = (top, under) => Object.fromEntries(["r", "g", "b"].map(c => [c, top[c] * top.a + under[c] * (1 - top.a)]).concat([["a", 1]]));
	const light = c => [c.r, c.g, c.b].map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = node => {
		const back = node ? parse(getComputedStyle(node).backgroundColor) : { r: 255, g: 255, b: 255, a: 1 };
		return back.a === 1 ? back : over(back, behind(node.parentElement));
	};
	let worst = [99, ""], count = 0;
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const node = texts.currentNode.parentElement;
		if (!texts.currentNode.textContent.trim() || node.closest("noscript, .hide, .skip") || !node.checkVisibility()) continue;
		let opacity = 1;
		for (let n = node; n; n = n.parentElement) opacity *= Number(getComputedStyle(n).opacity);
		const back = behind(node), front = over({ ...parse(getComputedStyle(node).color), a: opacity }, back);
		const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		count++;
		if (ratio < worst[0]) worst = [ratio, node.tagName + "." + node.className + ": " + texts.currentNode.textContent];
	}
	return count < 300 ? [0, "only " + count + " texts"] : worst;
})()`

func canBeRead(t *testing.T, b *browser) {
	s := newScene(t, 5*time.Minute)
	s.set(func(status *Status) {
		status.Checks[2].OK = false
		status.Checks[5] = Check{Name: "origin", Says: true, Text: "away"}
		status.Ring.Agreed = false
		status.Ring.Members[2].Epoch = "0123456789abcdef"
	})
	for scheme, page := range map[string]string{"light": "rgb(244, 245, 248)", "dark": "rgb(16, 19, 24)"} {
		p := b.open(t, s.url+"/#key=a", 1440, 1000, scheme)
		p.until(drawn + ` && document.querySelector("#where tbody")`)
		p.eval(`document.getElementById("ready").open = true; document.querySelector(".keys button").click(); document.getElementById("chart-hits").querySelector(".plot").focus()`)
		p.shows(`getComputedStyle(document.body).backgroundColor`, page)
		worst := p.eval(contrast).([]any)
		if worst[0].(float64) < 4.5 {
			t.Errorf("%s: contrast %.2f of %s", scheme, worst[0], worst[1])
		}
		// The other one is a choice, which is remembered.
		other := map[string]string{"light": "dark", "dark": "light"}[scheme]
		p.eval(fmt.Sprintf(`while (document.documentElement.dataset.theme !== %q) document.getElementById("theme").click()`, other))
		chosen := p.text(`getComputedStyle(document.body).backgroundColor`)
		p.call("Page.reload", nil)
		p.until(fmt.Sprintf(`performance.getEntriesByType("navigation")[0].type === "reload" && document.getElementById("theme").textContent === "Theme: %s"`, other))
		p.shows(`getComputedStyle(document.body).backgroundColor`, chosen)
		if chosen == page {
			t.Errorf("the choice of %s changes nothing", other)
		}
		p.eval(`localStorage.clear()`)
		p.faultless(s.url)
	}
}

func isUsedByKeyboard(t *testing.T, b *browser) {
	s := newScene(t, 5*time.Minute)
	p := b.open(t, s.url, 1440, 1000, "light")
	p.until(drawn)
	p.key("/", "/")
	p.shows(`document.activeElement.id`, "find-key")
	p.call("Input.insertText", map[string]any{"text": "sessions/1/head"})
	p.key("Enter", "\r")
	p.until(`document.querySelector("#where .asked code").textContent === "sessions/1/head"`)
	p.key("Escape", "")
	p.key("p", "p")
	p.shows(`document.getElementById("live-state").textContent`, "paused")
	p.key("p", "p")
	p.eval(`document.body.focus(); document.querySelector(".skip").focus()`)
	if p.eval(`document.querySelector(".skip").getBoundingClientRect().top >= 0`) != true {
		t.Error("the link past the head cannot be seen when it has the focus")
	}
	p.eval(`document.querySelector("#chart-answers .plot").focus()`)
	p.until(`document.querySelector("#chart-answers .cursor").hidden === false`)
	last := p.text(`document.querySelector("#chart-answers .plot").getAttribute("aria-valuetext")`)
	p.key("ArrowLeft", "")
	if now := p.text(`document.querySelector("#chart-answers .plot").getAttribute("aria-valuetext")`); now == last || !strings.Contains(now, "ram ") {
		t.Errorf("the cursor says %q, then %q", last, now)
	}
	// Whoever cannot see it hears what a control is, and where a table's figures belong.
	for _, fault := range []string{
		`[...document.querySelectorAll("button, a, input, [tabindex='0']")].filter(n => n.checkVisibility() && !(n.textContent.trim() || n.ariaLabel || n.labels?.length)).map(n => n.outerHTML).join()`,
		`[...document.querySelectorAll("table")].filter(n => !n.ariaLabel || [...n.querySelectorAll("th")].some(th => !th.scope)).map(n => n.outerHTML.slice(0, 99)).join()`,
		`[...document.querySelectorAll("[id]")].map(n => n.id).filter((id, i, all) => all.indexOf(id) !== i).join()`,
	} {
		p.shows(fault, "")
	}
	p.faultless(s.url)
}

func filtersSettings(t *testing.T, b *browser) {
	s := newScene(t, 5*time.Minute)
	p := b.open(t, s.url, 1440, 1000, "light")
	p.until(drawn)
	note := `document.getElementById("settings-note").textContent`
	p.shows(note, "24 of 24")
	p.eval(`document.getElementById("settings-changed").click()`)
	p.shows(note, "10 of 24")
	p.eval(`document.getElementById("settings-filter").value = "Environment SSD"; document.getElementById("settings-filter").dispatchEvent(new Event("input"))`)
	p.shows(note, "0 of 24")
	p.shows(`document.getElementById("settings").textContent`, "no setting matches")
}
