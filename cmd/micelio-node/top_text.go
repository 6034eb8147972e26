package main

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A face is how a piece of text looks.
type face int

const (
	plain face = iota
	faint
	strong
	good
	warning
	bad
	title
	inverse
	chosen
)

// sgr holds the codes of ECMA-48 for each face: of the eight colours that every
// terminal has, and no more, because the user has chosen how those look.
var sgr = [...]string{plain: "", faint: "2", strong: "1", good: "32", warning: "33", bad: "1;31", title: "1;36", inverse: "7", chosen: "1;7"}

// A span is a piece of text of one face, without control characters.
type span struct {
	text string
	face face
}

// A strip is one row of the screen.
type strip []span

// A look is what a screen may be made of.
type look struct {
	colours bool // and bold and dim letters
	unicode bool // characters beyond ASCII
}

// ellipsis stands for what was left out.
func (l look) ellipsis() string {
	if l.unicode {
		return "…"
	}
	return ".."
}

// bar draws a share of width characters.
func (l look) bar(share float64, width int) string {
	share = min(max(share, 0), 1)
	if !l.unicode {
		full := int(math.Round(share * float64(width)))
		return strings.Repeat("#", full) + strings.Repeat(".", width-full)
	}
	const steps = 8 // what there is between nothing and a full block
	partial := []rune(" ▏▎▍▌▋▊▉")
	n := int(math.Round(share * float64(width*steps)))
	b := strings.Repeat("█", n/steps)
	if n%steps > 0 {
		b += string(partial[n%steps])
	}
	return b + strings.Repeat("░", width-utf8.RuneCountInString(b))
}

// printable returns text in which nothing moves the cursor, changes how a
// terminal works or hides what comes after it: characters that are not printed
// or that stack upon others are written as Go would.
func printable(text string) string { return look{unicode: true}.printable(text) }

// isHarmless reports whether a character is printed, and by itself.
func isHarmless(r rune) bool {
	return r != utf8.RuneError && unicode.IsPrint(r) && !unicode.Is(unicode.M, r)
}

func (l look) printable(text string) string {
	isPlain := func(r rune) bool { return isHarmless(r) && (l.unicode || r < utf8.RuneSelf) }
	if !strings.ContainsFunc(text, func(r rune) bool { return !isPlain(r) }) {
		return text
	}
	var b strings.Builder
	for rest := text; rest != ""; {
		r, n := utf8.DecodeRuneInString(rest)
		switch {
		case isPlain(r):
			b.WriteString(rest[:n])
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, rest[0])
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		rest = rest[n:]
	}
	return b.String()
}

// clean makes every string within a value printable, in place: keys, and what
// errors quote, are written by strangers.
func (l look) clean(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(l.printable(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			l.clean(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			l.clean(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() || f.Anonymous {
				l.clean(v.Field(i))
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			cleaned := reflect.New(key.Type()).Elem()
			cleaned.Set(key)
			l.clean(cleaned)
			value := v.MapIndex(key)
			v.SetMapIndex(key, reflect.Value{})
			v.SetMapIndex(cleaned, value)
		}
	}
}

// wide are the characters that take two columns: East Asian Wide and Fullwidth of
// Unicode's annex 11, in whole blocks, and emoji.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{{0x1100, 0x115f, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0xa4cf, 1}, {0xa960, 0xa97c, 1}, {0xac00, 0xd7a3, 1},
		{0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff01, 0xff60, 1}, {0xffe0, 0xffe6, 1}},
	R32: []unicode.Range32{{0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1faff, 1}, {0x20000, 0x3fffd, 1}},
}

// cells returns how many columns printable text takes.
func cells(text string) int {
	n := 0
	for _, r := range text {
		n++
		if r >= 0x1100 && unicode.Is(wide, r) {
			n++
		}
	}
	return n
}

// shorten returns text in at most width columns. What is too long loses its
// middle: keys differ at their ends.
func (l look) shorten(text string, width int) string {
	if cells(text) <= width {
		return text
	}
	dots := l.ellipsis()
	if width <= cells(dots) {
		return head(text, width)
	}
	room := width - cells(dots)
	tail := room / 3
	return head(text, room-tail) + dots + last(text, tail)
}

// head returns the first characters of text that fit into width columns.
func head(text string, width int) string {
	for i, r := range text {
		if width -= cells(string(r)); width < 0 {
			return text[:i]
		}
	}
	return text
}

// last returns the last characters of text that fit into width columns.
func last(text string, width int) string {
	for i := len(text); i > 0; {
		r, n := utf8.DecodeLastRuneInString(text[:i])
		if width -= cells(string(r)); width < 0 {
			return text[i:]
		}
		i -= n
	}
	return text
}

// rateText writes a rate as people read it.
func rateText(n float64) string {
	if n > 0 && n < 10 {
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	return countText(int64(math.Round(n)))
}

// countText writes a count as people read it.
func countText(n int64) string {
	const exact = 10_000 // below, each of them may matter
	if n < exact {
		return strconv.FormatInt(n, 10)
	}
	value := float64(n)
	for _, unit := range []string{"k", "M", "G"} {
		if value /= 1000; value < 1000 {
			return strconv.FormatFloat(value, 'f', 1, 64) + unit
		}
	}
	return strconv.FormatFloat(value/1000, 'f', 1, 64) + "T"
}

func percent(share float64) string { return fmt.Sprintf("%.1f%%", share*100) }

// secondsText writes a duration in seconds with its two leading digits or units.
func (l look) secondsText(s float64) string {
	micro := "us"
	if l.unicode {
		micro = "µs"
	}
	d := time.Duration(s * float64(time.Second))
	switch {
	case s <= 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%d %s", d.Microseconds(), micro)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", s*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", s*1e3)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", s)
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", s)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
