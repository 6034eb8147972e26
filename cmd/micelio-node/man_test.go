package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestTheManualPageIsClean(t *testing.T) {
	mandoc := tool(t, "mandoc")
	code, page, stderr := runWith(t, nil, "man")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	lint := exec.Command(mandoc, "-Tlint", "-Wwarning")
	lint.Stdin = strings.NewReader(page)
	if out, err := lint.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	show := exec.Command(mandoc, "-Tascii", "-Owidth=500")
	show.Stdin = strings.NewReader(page)
	out, err := show.Output()
	if err != nil {
		t.Fatal(err)
	}
	read := plainText(out)
	for _, want := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "ENVIRONMENT", "FILES", "EXIT STATUS", "SIGNALS", "EXAMPLES", "SEE ALSO"} {
		if !strings.Contains(read, "\n"+want+"\n") {
			t.Errorf("no section %s", want)
		}
	}
	for _, s := range settings {
		for _, want := range append(s.variableNames(), "--"+s.name, s.help[1:]) {
			if !strings.Contains(read, want) {
				t.Errorf("%s: the page does not say %q", s.name, want)
			}
		}
	}
	for _, name := range commandNames() {
		if !strings.Contains(read, "\n     "+name) {
			t.Errorf("the page does not have the command %s", name)
		}
	}
}

// plainText takes out how a line printer made letters bold: by printing them
// twice.
func plainText(out []byte) string {
	var b []byte
	for _, c := range out {
		if c == '\b' && len(b) > 0 {
			b = b[:len(b)-1]
			continue
		}
		b = append(b, c)
	}
	return string(b)
}

func TestTheHeadOfTheManualPageIsReviewed(t *testing.T) {
	m := &manual{}
	m.page(time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC))
	head, _, _ := bytes.Cut([]byte(m.String()), []byte(".Sh COMMANDS"))
	golden(t, "man-head.golden", head)
}

func TestTextIsNoRequestToTheFormatter(t *testing.T) {
	for text, want := range map[string]string{
		".Sh x": `\&.Sh x`, "'x": `\&'x`, `a\nb`: `a\enb`, "use --listen or -x": `use \-\-listen or \-x`, "content-addressed": "content-addressed",
	} {
		if got := roff(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := arg("No"); got != `\&No` {
		t.Errorf("got %q", got)
	}
}
