package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/micelio/micelio/internal/trail"
	"github.com/micelio/micelio/object"
)

func privacyOf(t testing.TB, patterns ...string) privacy {
	t.Helper()
	p, err := object.NewPatterns(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return privacy{p}
}

func TestAPrivateKeyIsShownAsAPrefixAndADigest(t *testing.T) {
	p := privacyOf(t, "sessions/**", "users/*/token", "**/private/*")
	for key, want := range map[object.Key]string{
		"sessions/abc":       "sessions/~88b648b3", // printf sessions/abc | sha256sum
		"users/ann/token":    "users/~" + p.shown("users/ann/token")[len("users/~"):],
		"a/private/b":        "~" + p.shown("a/private/b")[1:],
		"artifacts/sha256:1": "artifacts/sha256:1",
		"sessions":           "sessions",
	} {
		if got := p.shown(key); got != want {
			t.Errorf("%q is shown as %q, want %q", key, got, want)
		}
	}
	if got := privacyOf(t).shown("sessions/abc"); got != "sessions/abc" {
		t.Errorf("without patterns %q is shown", got)
	}
}

// The texts are of the kinds that errors have: ours, those of net/http and of the S3
// SDK, within one another, cut, with what is said twice.
func TestPrivateKeysAreHiddenInTexts(t *testing.T) {
	const key = "sessions/Secret Name/é\"x"
	p := privacyOf(t, "sessions/**", "**/private/*")
	shown := p.shown(key)
	inner := fmt.Errorf("origin: get %q: %w", key, object.ErrUnavailable)
	escaped := (&url.URL{Path: "/bucket/prefix/" + key}).EscapedPath()
	for name, c := range map[string]struct{ text, want string }{
		"an error":          {inner.Error(), fmt.Sprintf("origin: get %q: unavailable", shown)},
		"two":               {fmt.Sprintf("tiers: fill %q: %v", key, inner), fmt.Sprintf("tiers: fill %q: origin: get %q: unavailable", shown, shown)},
		"within another's":  {fmt.Sprintf("peer said %q", inner), fmt.Sprintf("peer said %q", fmt.Sprintf("origin: get %q: unavailable", shown))},
		"a URL":             {fmt.Sprintf("Get %q: EOF", "http://host:1"+escaped+"?x-id=GetObject"), fmt.Sprintf("Get %q: EOF", "http://host:1/bucket/prefix/"+shown)},
		"a URL, bare":       {"no answer from http://host:1" + escaped + ", really", "no answer from http://host:1/bucket/prefix/" + shown + ", really"},
		"a path":            {"open /data/sessions/abc: no such file", "open /data/" + p.shown("sessions/abc") + ": no such file"},
		"in brackets":       {"(key=sessions/abc)", "(key=" + p.shown("sessions/abc") + ")"},
		"cut":               {`get "sessions/Secret Na`, `get "` + p.shown("sessions/Secret Na") + `"`},
		"shown already":     {"get \"" + p.shown("sessions/abc") + "\"", "get \"" + p.shown("sessions/abc") + "\""},
		"after a blank":     {"get sessions/abc failed", "get " + p.shown("sessions/abc") + " failed"},
		"a path, relative":  {"open sessions/abc: no such file", "open " + p.shown("sessions/abc") + ": no such file"},
		"a list":            {"[sessions/a\tsessions/b]\n", "[" + p.shown("sessions/a") + "\t" + p.shown("sessions/b") + "]\n"},
		"in backquotes":     {"of `sessions/abc`, |sessions/abc| -sessions/abc", strings.ReplaceAll("of `k`, |k| -k", "k", p.shown("sessions/abc"))},
		"a URL's query":     {`Get "http://host/b?list-type=2&prefix=pre%2Fsessions%2Fabc%2F": EOF`, `Get "http://host/b": EOF`},
		"a query, bare":     {"at (http://host/b?start-after=sessions%2Fabc), really", "at (http://host/b), really"},
		"no prefix":         {`get "a/private/b"`, `get "` + p.shown("a/private/b") + `"`},
		"others":            {`get "artifacts/sha256:1" of "sessions" at http://host/sessions`, `get "artifacts/sha256:1" of "sessions" at http://host/sessions`},
		"an odd quote":      {`5" disk, "sessions/abc`, `5" disk, "` + p.shown("sessions/abc")},
		"not about any key": {"dial tcp 127.0.0.1:1: connection refused", "dial tcp 127.0.0.1:1: connection refused"},
	} {
		if got := p.text(c.text); got != c.want {
			t.Errorf("%s:\n%s\nis shown as\n%s, want\n%s", name, c.text, got, c.want)
		}
	}
}

// What a line says of a private key, in whatever type, does not name it.
func TestNoAttributeNamesAPrivateKey(t *testing.T) {
	var out bytes.Buffer
	p := privacyOf(t, "sessions/**")
	log := slog.New(&logHandler{slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}), p})
	const key = object.Key("sessions/Secret Name")
	err := fmt.Errorf("origin: put %q: %w", key, &fs.PathError{Op: "open", Path: "x", Err: errors.New("full")})
	ctx := trail.With(t.Context(), trail.Continue("00A1", []string{"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, nil))
	log.InfoContext(ctx, "message", "a", key, "key", string(key), "err", err, "keys", []object.Key{key + "s"}, "text", fmt.Sprintf("%q", key),
		slog.Group("group", "key", key), "struct", struct{ Key string }{"sessions/abc"})
	log.With("key", key, "err", err).WithGroup("in").Debug("message", "key", key, "number", 7, "secret", Secret("sessions/x"))
	if said := out.String(); strings.Contains(said, "ecret Name") || strings.Contains(said, "sessions/abc") || strings.Count(said, p.shown(key)) < 6 {
		t.Errorf("said\n%s", said)
	}
	if said := out.String(); !strings.Contains(said, `"request_id":"00A1","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"`) ||
		!strings.Contains(said, `"secret":"`+Mask) || !strings.Contains(said, `"number":7`) {
		t.Errorf("said\n%s", said)
	}
}

// A key of many segments costs a bounded time. Behind the bound it is hidden, whatever
// it is, and stays what it was shown as.
func TestALongNameIsHiddenBehindABound(t *testing.T) {
	p := privacyOf(t, "sessions/**", "**/private/*", "a/**/b/**/c")
	for _, ends := range []string{"sessions/abc", "x/y/z"} {
		long := strings.Repeat("a/", 500) + ends
		text := fmt.Sprintf("get %q: open /data/%s: EOF", long, long)
		shown := p.text(text)
		if strings.Contains(shown, ends) || len(shown) > 400 || !strings.Contains(shown, "get \"a/a/a/") || !strings.HasSuffix(shown, ": EOF") {
			t.Errorf("%s is shown as\n%s", text, shown)
		}
		if again := p.text(shown); again != shown {
			t.Errorf("%s\nis shown as\n%s", shown, again)
		}
	}
	deep := "/data/" + strings.Repeat("a/", maxBegins-10) + "x"
	if got := p.text("open " + deep); got != "open "+deep {
		t.Errorf("%s is shown as %s", deep, got)
	}
}

// A node that hides no keys does not look for any.
func TestWhereNoKeyIsPrivateALineCostsNothing(t *testing.T) {
	n := openNode(t, func(c *Config) { c.PrivateKeys = nil })
	attr := slog.Any("error", fmt.Errorf("get %q: %w", "sessions/abc", object.ErrUnavailable))
	if allocs := testing.AllocsPerRun(100, func() {
		if got := n.privacy.value(attr); !got.Equal(attr) {
			t.Errorf("shown as %v", got)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkHideLongKey(b *testing.B) {
	p := privacyOf(b, "sessions/**", "**/private/*", "a/**/b/**/c")
	text := fmt.Sprintf("get %q: EOF", strings.Repeat("a/", 500)+"x")
	for b.Loop() {
		p.text(text)
	}
}

func TestWhereAllKeysArePrivateLinesStillSaySomething(t *testing.T) {
	p := privacyOf(t, "**")
	for _, text := range []string{"listening", "client", "127.0.0.1:8080", "dial tcp 127.0.0.1:1: connection refused"} {
		if got := p.text(text); got != text {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
	if got := p.text(`get "abc"`); strings.Contains(got, "abc") {
		t.Errorf("shown: %s", got)
	}
}

// Whatever stands around it, a private key that is quoted is not seen.
func FuzzQuotedKeysAreHidden(f *testing.F) {
	f.Add("abc", "tiers: fill ", ": unavailable")
	f.Add("a \"b\"\\", "\"", "\"x")
	f.Add("é\n/\x00", "say \"", "\": ")
	p := privacyOf(f, "sessions/**")
	f.Fuzz(func(t *testing.T, name, before, after string) {
		key, err := object.ParseKey("sessions/" + name + "/0123456789")
		if err != nil || strings.ContainsAny(before+after, `"\`) || strings.Contains(before+after, "0123456789") {
			t.Skip() // quotes that are not closed belong to nobody
		}
		text := before + strconv.Quote(string(key)) + after
		for range 3 {
			if shown := p.text(text); strings.Contains(shown, "0123456789") {
				t.Fatalf("%s is shown as %s", text, shown)
			}
			text = "peer said " + strconv.Quote(text) + ", no more"
		}
	})
}
