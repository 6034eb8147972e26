package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/micelio/micelio/node"
)

// A value is one setting's place in the configuration. The errors of set
// complete a sentence that begins with the quoted text, and leave the place as
// it was.
type value interface {
	set(text string) error
	String() string
}

// textValue is any text as it stands.
type textValue struct{ p *string }

func (v textValue) set(s string) error { *v.p = s; return nil }
func (v textValue) String() string     { return *v.p }

// urlValue is a URL, shown without what does not belong there and may be a
// secret: a password, a query, a fragment.
type urlValue struct{ p *string }

func (v urlValue) set(s string) error { *v.p = s; return nil }
func (v urlValue) String() string {
	u, err := url.Parse(*v.p)
	switch {
	case err == nil && u.User == nil && strings.Contains(*v.p, "@"), err != nil && strings.ContainsAny(*v.p, "@?#"):
		return node.Mask // perhaps a secret where no parser sees one
	case err != nil:
		return *v.p
	}
	if u.RawQuery != "" {
		u.RawQuery = node.Mask
	}
	if u.Fragment != "" {
		u.Fragment, u.RawFragment = node.Mask, ""
	}
	return u.Redacted()
}

type secretValue struct{ p *node.Secret }

func (v secretValue) set(s string) error { *v.p = node.Secret(s); return nil }
func (v secretValue) String() string     { return fmt.Sprint(*v.p) }

type boolValue struct{ p *bool }

func (v boolValue) set(s string) error {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return errors.New("is neither true nor false")
	}
	*v.p = b
	return nil
}
func (v boolValue) String() string { return strconv.FormatBool(*v.p) }

// An intValue is a number of things.
type intValue struct{ p *int }

func (v intValue) set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil {
		return errors.New("is not a whole number: write for example 128")
	}
	*v.p = n
	return nil
}
func (v intValue) String() string { return strconv.Itoa(*v.p) }

// A listValue is texts separated by commas or white space, neither of which an
// address or a key pattern needs.
type listValue struct{ p *[]string }

func (v listValue) set(s string) error {
	*v.p = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	return nil
}
func (v listValue) String() string { return strings.Join(*v.p, ",") }

type durationValue struct{ p *time.Duration }

func (v durationValue) set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return errors.New("is not a duration: write for example 500ms, 5s or 1m30s")
	}
	*v.p = d
	return nil
}
func (v durationValue) String() string { return v.p.String() }

type levelValue struct{ p *slog.Level }

func (v levelValue) set(s string) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s)); err != nil {
		return errors.New("is not a log level: use debug, info, warn or error")
	}
	*v.p = level
	return nil
}
func (v levelValue) String() string { return strings.ToLower(v.p.String()) }

// A sizeValue is a number of bytes.
type sizeValue struct{ p *int64 }

// A unit is a suffix of sizes.
type unit struct {
	suffix string
	bytes  int64
}

// units lists the suffixes of sizes, longer ones before those they end in. A
// bare K, M or G is refused: half the world reads it as 1000 and half as 1024.
var units = []unit{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

var (
	errSize      = errors.New("is not a size: write bytes, for example 64000000, 64MB or 64MiB")
	errSizeRange = errors.New("is too large: sizes end at 8388607TiB")
)

func (v sizeValue) set(s string) error {
	n, err := parseSize(s)
	if err != nil {
		return err
	}
	*v.p = n
	return nil
}

func parseSize(s string) (int64, error) {
	digits, factor := s, int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, factor = strings.TrimRight(rest, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, errSizeRange
	case err != nil:
		return 0, errSize
	case n > math.MaxInt64/factor || n < math.MinInt64/factor:
		return 0, errSizeRange
	}
	return n * factor, nil
}

// String writes the size in the largest binary unit from MiB up that fits
// exactly, else in bytes; set reads both.
func (v sizeValue) String() string {
	for _, u := range []unit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}} {
		if *v.p != 0 && *v.p%u.bytes == 0 {
			return strconv.FormatInt(*v.p/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(*v.p, 10)
}
