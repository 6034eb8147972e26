package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"

	"github.com/micelio/micelio/internal/trail"
	"github.com/micelio/micelio/object"
)

// A privacy shows keys, in what people read, as they may be seen: private ones with
// what their pattern begins with, "~", and 8 digits by which lines about one key can
// be told from those about others. Who can guess a key can check the guess.
type privacy struct{ private *object.Patterns } // nil if no key is

// shown returns a key as people may see it.
func (n *Node) shown(key object.Key) string { return n.privacy.shown(key) }

func (p privacy) shown(key object.Key) string {
	if prefix, ok := p.match(string(key)); ok {
		return stand(prefix, string(key))
	}
	return string(key)
}

// match reports whether a key is private, and what its pattern begins with. A key
// that is no more than that says nothing that the pattern does not.
func (p privacy) match(key string) (prefix string, ok bool) {
	prefix, ok = p.private.Match(object.Key(key))
	return prefix, ok && strings.HasPrefix(key, prefix)
}

// stand returns what stands for a private key.
func stand(prefix, key string) string {
	sum := sha256.Sum256([]byte(key))
	return prefix + standMark + hex.EncodeToString(sum[:standDigits/2])
}

const (
	standMark   = "~"
	standDigits = 8
)

// isStand reports whether s is what stands for a key already.
func isStand(prefix, s string) bool {
	digits, ok := strings.CutPrefix(s[min(len(prefix), len(s)):], standMark)
	if !ok || len(digits) != standDigits {
		return false
	}
	_, err := strconv.ParseUint(digits, 16, 32)
	return err == nil
}

// blanks stand between the words of a text.
const blanks = " \t\r\n"

// text returns what others wrote, such as the text of an error, with the private keys
// in it as they may be seen. Our own errors and those of net/http quote keys and URLs
// as %q does, also within one another, and a quoted string is looked at as a whole;
// other text word by word. URLs lose their queries, in which a listing names keys.
func (p privacy) text(s string) string {
	if p.private == nil {
		return s
	}
	var b strings.Builder
	for rest := s; rest != ""; {
		if rest[0] == '"' {
			quoted, err := strconv.QuotedPrefix(rest)
			inner := ""
			if err == nil {
				inner, err = strconv.Unquote(quoted)
			}
			if err != nil { // it was cut, or is no quotation
				quoted, inner = rest, rest[1:]
			}
			switch hidden := p.name(inner); {
			case hidden != inner:
				b.WriteString(strconv.Quote(hidden))
				rest = rest[len(quoted):]
				continue
			case err == nil:
				b.WriteString(quoted)
				rest = rest[len(quoted):]
				continue
			}
			b.WriteByte('"')
			rest = rest[1:]
			continue
		}
		if n := len(rest) - len(strings.TrimLeft(rest, blanks)); n > 0 {
			b.WriteString(rest[:n])
			rest = rest[n:]
			continue
		}
		n := strings.IndexAny(rest, blanks+`"`)
		if n < 0 {
			n = len(rest)
		}
		b.WriteString(p.word(rest[:n]))
		rest = rest[n:]
	}
	return b.String()
}

// name returns s, which was quoted, with the private key that it ends with as it may
// be seen: it may be a key, a path or a URL. Else it is text.
func (p privacy) name(s string) string {
	if hidden, ok := p.end(s, "/"); ok {
		return hidden
	}
	if strings.ContainsAny(s, blanks+`"`) {
		return p.text(s)
	}
	return withoutQuery(s)
}

// withoutQuery returns a URL without its query, and what is none as it is.
func withoutQuery(s string) string {
	if strings.Contains(s, "://") {
		s, _, _ = strings.Cut(s, "?")
	}
	return s
}

// word is name for a word of a text. Where every key is private, it still is not one
// unless it looks like one.
func (p privacy) word(s string) string {
	core := strings.TrimRight(s, "'`),.;:]>}|")
	rest := s[len(core):]
	core = withoutQuery(core)
	hidden, ok := p.end(core, "/=([<{'`:,|-")
	if !ok || hidden[0] == standMark[0] && !strings.Contains(core, "/") {
		return core + rest
	}
	return hidden + rest
}

// maxBegins bounds how often one string is looked at for a private key: with patterns
// that begin with "**/", each time takes as long as the key has segments. A key of 500
// takes a millisecond then, a quarter of what it does without a bound.
const maxBegins = 64

// end finds the private key that s ends with, which begins with s or behind one of
// these bytes. A URL's is escaped, and a query may follow it. What has more beginnings
// than maxBegins is taken for private behind them.
func (p privacy) end(s, behind string) (string, bool) {
	isURL := strings.Contains(s, "://")
	begins := 0
	for i := range len(s) {
		if i > 0 && strings.IndexByte(behind, s[i-1]) < 0 {
			continue
		}
		key := s[i:]
		if begins++; begins > maxBegins {
			if isStand("", key) {
				return s, false
			}
			return s[:i] + stand("", key), true
		}
		if isURL {
			path, _, _ := strings.Cut(key, "?")
			if unescaped, err := url.PathUnescape(path); err == nil {
				key = unescaped
			}
		}
		if prefix, ok := p.match(key); ok {
			if isStand(prefix, key) {
				return s, false
			}
			return s[:i] + stand(prefix, key), true
		}
	}
	return s, false
}

// value is text for the value of an attribute.
func (p privacy) value(a slog.Attr) slog.Attr {
	if p.private == nil {
		return a
	}
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		group := make([]slog.Attr, 0, len(v.Group()))
		for _, inner := range v.Group() {
			group = append(group, p.value(inner))
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(group...)}
	case slog.KindString:
		text := p.text(v.String())
		if a.Key == "key" { // of something whose type got lost, as in a file
			text = p.name(v.String())
		}
		return slog.String(a.Key, text)
	case slog.KindAny:
		if key, ok := v.Any().(object.Key); ok {
			return slog.String(a.Key, p.shown(key))
		}
		said := fmt.Sprint(v.Any())
		if hidden := p.text(said); hidden != said {
			return slog.String(a.Key, hidden)
		}
	}
	return slog.Attr{Key: a.Key, Value: v}
}

// A logHandler is what all of a node's lines go through. It shows keys as they may be
// seen, and says for which request a line is said whose context knows.
type logHandler struct {
	slog.Handler
	privacy privacy
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	shown := slog.NewRecord(r.Time, r.Level, h.privacy.text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		shown.AddAttrs(h.privacy.value(a))
		return true
	})
	if t, ok := trail.From(ctx); ok {
		shown.AddAttrs(slog.String("request_id", t.Request), slog.String("trace_id", t.Trace()))
	}
	return h.Handler.Handle(ctx, shown)
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	shown := make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		shown = append(shown, h.privacy.value(a))
	}
	return &logHandler{h.Handler.WithAttrs(shown), h.privacy}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.Handler.WithGroup(name), h.privacy}
}
