package console

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A browser is a Chromium that is driven over two pipes in the DevTools protocol
// (https://chromedevtools.github.io/devtools-protocol/): JSON messages with a NUL
// after each.
type browser struct {
	mu      sync.Mutex
	write   io.WriteCloser
	id      int
	waiting map[int]chan reply
	tabs    map[string]*tab // by session
	gone    chan struct{}
}

type reply struct {
	ID     int             `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
	Session string          `json:"sessionId"`
}

// startBrowser starts Chromium until the test ends, and skips the test if there
// is none and the tools are not required.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("MICELIO_TEST_TOOLS") == "required" {
			t.Fatal("chromium is missing: scripts/install-test-tools.sh installs it")
		}
		t.Skip("chromium is not installed")
	}
	home := t.TempDir()
	ask, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read, tell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir="+filepath.Join(home, "profile"), "--remote-debugging-pipe", "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home)
	cmd.ExtraFiles = []*os.File{ask, tell} // 3, which it reads, and 4, which it writes
	var says bytes.Buffer
	cmd.Stderr = &says
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ask.Close()
	tell.Close()
	b := &browser{write: write, waiting: map[int]chan reply{}, tabs: map[string]*tab{}, gone: make(chan struct{})}
	go b.listen(read)
	t.Cleanup(func() {
		select {
		case <-b.gone:
			t.Logf("the browser is gone: %s", says.String())
		default:
			b.call(t, "", "Browser.close", nil)
		}
		_ = cmd.Wait() // it says 0 or that it was told to go
		write.Close()
		<-b.gone
		read.Close()
	})
	return b
}

func (b *browser) listen(from io.Reader) {
	defer close(b.gone)
	messages := bufio.NewReader(from)
	for {
		text, err := messages.ReadBytes(0)
		if err != nil {
			return
		}
		var r reply
		if err := json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &r); err != nil {
			continue
		}
		b.mu.Lock()
		answer, tab := b.waiting[r.ID], b.tabs[r.Session]
		if r.Method == "" {
			delete(b.waiting, r.ID)
		}
		b.mu.Unlock()
		switch {
		case r.Method == "" && answer != nil:
			answer <- r
		case r.Method != "" && tab != nil:
			tab.note(&r)
		}
	}
}

// call asks a session for something, the browser itself if it is "".
func (b *browser) call(t *testing.T, session, method string, params any) json.RawMessage {
	t.Helper()
	b.mu.Lock()
	b.id++
	id, answer := b.id, make(chan reply, 1)
	b.waiting[id] = answer
	b.mu.Unlock()
	message := map[string]any{"id": id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if session != "" {
		message["sessionId"] = session
	}
	text, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	_, err = b.write.Write(append(text, 0))
	b.mu.Unlock()
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	// A page that never does what a test waits for would keep it for ever.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	select {
	case r := <-answer:
		if r.Error != nil {
			t.Fatalf("%s: %s", method, r.Error.Message)
		}
		return r.Result
	case <-b.gone:
		t.Fatalf("%s: the browser is gone", method)
	case <-ctx.Done():
		t.Fatalf("%s: no answer to %.300s", method, text)
	}
	return nil
}

// A tab is one page of a browser, and what went on in it.
type tab struct {
	t       *testing.T
	browser *browser
	session string

	noted    sync.Mutex
	requests []string // URLs
	faults   []string // errors and warnings of its console, and exceptions
}

// open opens a page in a tab of its own, width wide, in a colour scheme.
func (b *browser) open(t *testing.T, url string, width, height int, scheme string) *tab {
	t.Helper()
	var target struct {
		ID string `json:"targetId"`
	}
	decode(t, b.call(t, "", "Target.createTarget", map[string]any{"url": "about:blank"}), &target)
	var session struct {
		ID string `json:"sessionId"`
	}
	decode(t, b.call(t, "", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}), &session)
	p := &tab{t: t, browser: b, session: session.ID}
	b.mu.Lock()
	b.tabs[session.ID] = p
	b.mu.Unlock()
	t.Cleanup(func() { b.call(t, "", "Target.closeTarget", map[string]any{"targetId": target.ID}) })
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		p.call(domain+".enable", nil)
	}
	p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
	p.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
	// A page that is not the one before all others has no focus, and its keys wait.
	p.call("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true})
	p.call("Page.navigate", map[string]any{"url": url})
	return p
}

func decode(t *testing.T, text json.RawMessage, v any) {
	t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// call asks the tab for something.
func (p *tab) call(method string, params any) json.RawMessage {
	p.t.Helper()
	return p.browser.call(p.t, p.session, method, params)
}

func (p *tab) note(r *reply) {
	p.noted.Lock()
	defer p.noted.Unlock()
	var event struct {
		Request struct {
			URL string `json:"url"`
		} `json:"request"`
		Type  string            `json:"type"`
		Args  []json.RawMessage `json:"args"`
		Entry struct {
			Level, Text, URL string
		} `json:"entry"`
		Exception json.RawMessage `json:"exceptionDetails"`
	}
	if json.Unmarshal(r.Params, &event) != nil {
		return
	}
	switch r.Method {
	case "Network.requestWillBeSent":
		p.requests = append(p.requests, event.Request.URL)
	case "Runtime.exceptionThrown":
		p.faults = append(p.faults, string(event.Exception))
	case "Runtime.consoleAPICalled":
		p.faults = append(p.faults, fmt.Sprintf("%s: %s", event.Type, event.Args))
	case "Log.entryAdded":
		p.faults = append(p.faults, event.Entry.Level+": "+event.Entry.Text+" "+event.Entry.URL)
	}
}

// eval returns the value of an expression, for whose promise it waits.
func (p *tab) eval(expression string) any {
	p.t.Helper()
	var result struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	decode(p.t, p.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}), &result)
	if e := result.Exception; e != nil {
		p.t.Fatalf("%s: %s %s", expression, e.Text, e.Exception.Description)
	}
	return result.Result.Value
}

// text returns an expression's value that is a text.
func (p *tab) text(expression string) string {
	p.t.Helper()
	text, ok := p.eval(expression).(string)
	if !ok {
		p.t.Fatalf("%s is no text", expression)
	}
	return text
}

// until waits in the page until an expression is true. What it waits for may be
// before the page has begun.
func (p *tab) until(expression string) {
	p.t.Helper()
	p.eval(`new Promise(done => {
		const look = () => { let is = false; try { is = ` + expression + `; } catch {} if (is) done(true); else setTimeout(look, 20); };
		look();
	})`)
}

// key presses a key with whatever has the focus.
func (p *tab) key(key, text string) {
	p.t.Helper()
	code := map[string]int{"Enter": 13, "Tab": 9, "Escape": 27}[key]
	down := map[string]any{"type": "keyDown", "key": key, "windowsVirtualKeyCode": code}
	if text != "" {
		down["text"] = text
	}
	p.call("Input.dispatchKeyEvent", down)
	p.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "windowsVirtualKeyCode": code})
}

// picture writes the whole page to a file.
func (p *tab) picture(file string) {
	p.t.Helper()
	var shot struct {
		Data string `json:"data"`
	}
	decode(p.t, p.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true}), &shot)
	image, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(file, image, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// faultless fails the test if the page complained of something, or asked for
// anything from elsewhere.
func (p *tab) faultless(origin string) {
	p.t.Helper()
	p.noted.Lock()
	defer p.noted.Unlock()
	for _, f := range p.faults {
		p.t.Errorf("the console of the browser says %s", f)
	}
	for _, url := range p.requests {
		if !strings.HasPrefix(url, origin+"/") && url != "about:blank" {
			p.t.Errorf("the page asked for %s", url)
		}
	}
	if len(p.requests) < 10 {
		p.t.Errorf("the page asked for %d things only: %q", len(p.requests), p.requests)
	}
}
