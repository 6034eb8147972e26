package console

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

var pictures = flag.String("pictures", "", "write pictures of the page of a made-up node into this folder")

var pictured = flag.String("page", "", "with -pictures: make them of this page instead, such as http://127.0.0.1:8082/")

// TestPictures is no test: go test ./console -run TestPictures -pictures FOLDER
// makes pictures of a node that does well, and of one that does not; with -page
// of a real one.
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("draws with -pictures only")
	}
	b := startBrowser(t)
	if *pictured != "" {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int{1440, 390} {
				p := b.open(t, *pictured, width, 1000, scheme)
				p.until(`document.querySelector("#members tbody tr") && document.querySelector("#chart-requests .plot path")?.getAttribute("d").length > 10 && (!location.hash || document.querySelector("#where table, #where .fault"))`)
				p.whole(width, filepath.Join(*pictures, fmt.Sprintf("%s-%d.png", scheme, width)))
			}
		}
		return
	}
	well := newScene(t, time.Hour)
	ill := newScene(t, 2*time.Minute)
	ill.set(func(s *Status) {
		s.Node.State = "not ready"
		s.Checks[1] = Check{Name: "ring", Text: "no member answers"}
		s.Checks[5] = Check{Name: "origin", Says: true, Text: "has not answered for 41s"}
		s.Ring.Agreed, s.Ring.Members[2].Epoch = false, "00ab3c77d2e01f54"
		s.Fills, s.FillCount, s.Hot, s.Tiers = nil, 0, nil, nil
	})
	for name, p := range map[string]struct {
		*scene
		hash          string
		width, height int
		scheme        string
	}{
		"light-1440": {well, "#key=artifacts%2Fsha256:" + digest(20), 1440, 1000, "light"},
		"dark-1440":  {well, "", 1440, 1000, "dark"},
		"light-390":  {well, "#key=artifacts%2Fsha256:" + digest(20), 390, 844, "light"},
		"dark-390":   {well, "", 390, 844, "dark"},
		"ill-1024":   {ill, "#key=%2Fa", 1024, 800, "light"},
		"ill-1920":   {ill, "", 1920, 1000, "dark"},
	} {
		page := b.open(t, p.url+"/"+p.hash, p.width, p.height, p.scheme)
		page.until(drawn + ` && (location.hash === "" || document.querySelector("#where table, #where .fault"))`)
		page.eval(`document.getElementById("ready").open = innerWidth === 1024; document.querySelector("#chart-times .plot").focus()`)
		page.whole(p.width, filepath.Join(*pictures, name+".png"))
	}
}

// whole makes a picture of the page to its end.
func (p *tab) whole(width int, file string) {
	p.t.Helper()
	height := p.eval(`document.documentElement.scrollHeight`).(float64)
	p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": int(height), "deviceScaleFactor": 1, "mobile": width < 600})
	p.eval(`new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))`)
	p.picture(file)
}
