package trail

import (
	"context"
	"regexp"
	"strings"
	"testing"
)

const example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestARequestStaysInTheTraceThatItCameWith(t *testing.T) {
	got := Continue("A1", []string{example}, []string{"congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7 , "})
	if got.Trace() != "4bf92f3577b34da6a3ce929d0e0e4736" || got.Request != "A1" {
		t.Errorf("trace %s of request %s", got.Trace(), got.Request)
	}
	if want := "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"; got.State() != want {
		t.Errorf("tracestate %q, want %q", got.State(), want)
	}
	one, two := got.Parent(), got.Parent()
	for _, parent := range []string{one, two} {
		if !strings.HasPrefix(parent, example[:parentAt]) || !strings.HasSuffix(parent, "-01") {
			t.Errorf("traceparent %s does not continue %s", parent, example)
		}
	}
	if one == two || one == example {
		t.Errorf("two requests have the same parent id: %s, %s after %s", one, two, example)
	}
}

// The cases are those of the specification's test suite (w3c/trace-context,
// test/test.py), by what they are about.
func TestAMalformedTraceparentBeginsATrace(t *testing.T) {
	const id, span = "12345678901234567890123456789012", "1234567890123456"
	for name, parents := range map[string][]string{
		"none":               nil,
		"twice":              {example, example},
		"empty":              {""},
		"version ff":         {"ff-" + id + "-" + span + "-01"},
		"version of letters": {".0-" + id + "-" + span + "-01"},
		"version too long":   {"000-" + id + "-" + span + "-01"},
		"version too short":  {"0-" + id + "-" + span + "-01"},
		"more in 00":         {"00-" + id + "-" + span + "-01-what"},
		"more without dash":  {"cc-" + id + "-" + span + "-01.what"},
		"upper case":         {"00-" + strings.Replace(id, "12", "AB", 1) + "-" + span + "-01"},
		"trace of zeroes":    {"00-" + strings.Repeat("0", 32) + "-" + span + "-01"},
		"parent of zeroes":   {"00-" + id + "-0000000000000000-01"},
		"trace too long":     {"00-" + id + "3-" + span + "-01"},
		"parent too short":   {"00-" + id + "-" + span[1:] + "-01"},
		"parent of others":   {"00-" + id + "-123456789012345.-01"},
		"flags too long":     {"00-" + id + "-" + span + "-001"},
		"flags of others":    {"00-" + id + "-" + span + "-.0"},
		"blank before":       {" " + example},
	} {
		t.Run(name, func(t *testing.T) {
			got := Continue("A1", parents, []string{"a=1"})
			if trace := got.Trace(); len(trace) != 32 || strings.Contains(strings.Join(parents, " "), trace) {
				t.Errorf("trace %q of %q", trace, parents)
			}
			if got.State() != "" {
				t.Errorf("tracestate %q of a trace that is left behind", got.State())
			}
			if parent := got.Parent(); !strings.HasSuffix(parent, "-00") {
				t.Errorf("a trace begun here is sampled: %s", parent)
			}
		})
	}
}

func TestATraceparentOfALaterVersionIsReadLikeThisOne(t *testing.T) {
	const rest = "-12345678901234567890123456789012-1234567890123456-0f"
	for _, parent := range []string{"cc" + rest, "cc" + rest + "-what-the-future-will-be-like"} {
		got := Continue("", []string{parent}, nil)
		if want := "00" + rest[:parentAt-2]; !strings.HasPrefix(got.Parent(), want) || !strings.HasSuffix(got.Parent(), "-01") {
			t.Errorf("%s goes on as %s", parent, got.Parent())
		}
	}
}

func TestATracestateIsSentOnOrLeftBehind(t *testing.T) {
	long := func(key string, n int) string { return key + "=" + strings.Repeat("v", n-len(key)-1) }
	many := make([]string, maxMembers)
	for i := range many {
		many[i] = string(rune('a'+i%26)) + strings.Repeat("x", i/26) + "=1"
	}
	for name, c := range map[string]struct {
		fields []string
		want   string
	}{
		"one":              {[]string{"foo=1"}, "foo=1"},
		"blanks":           {[]string{"foo=1 \t, \tbar=2"}, "foo=1,bar=2"},
		"tenants":          {[]string{"foo@=1"}, ""},
		"tenant":           {[]string{"0foo@bar=1"}, "0foo@bar=1"},
		"two at signs":     {[]string{"foo@bar@baz=1"}, ""},
		"upper case":       {[]string{"FOO=1"}, ""},
		"digit first":      {[]string{"1a=1"}, ""},
		"no value":         {[]string{"foo"}, ""},
		"empty value":      {[]string{"foo="}, ""},
		"equals":           {[]string{"foo=bar=baz"}, ""},
		"odd byte":         {[]string{"foo=b\xe4r"}, ""},
		"same key twice":   {[]string{"foo=1", "bar=2,foo=3"}, ""},
		"as many as may":   {many[:1], "a=1"},
		"all that may":     {[]string{strings.Join(many, ",")}, strings.Join(many, ",")},
		"one too many":     {[]string{strings.Join(many, ","), "zz=1"}, ""},
		"long ones first":  {[]string{"a=1", long("b", 200), long("c", 120), long("d", 200)}, "a=1," + long("b", 200) + "," + long("c", 120)},
		"then from behind": {[]string{long("a", 128), long("b", 128), long("c", 128), long("d", 128)}, strings.Join([]string{long("a", 128), long("b", 128), long("c", 128)}, ",")},
	} {
		t.Run(name, func(t *testing.T) {
			got := Continue("", []string{example}, c.fields)
			if got.State() != c.want {
				t.Errorf("%q is sent on as %q, want %q", c.fields, got.State(), c.want)
			}
			if !strings.HasPrefix(got.Parent(), example[:parentAt]) {
				t.Errorf("the trace went with the state: %s", got.Parent())
			}
		})
	}
}

// grammar is the specification's, for versions up to 01, in another notation.
var grammar = regexp.MustCompile(`^(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|([1-9a-e][0-9a-f]|0[1-9a-f]|f[0-9a-e])-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-(?s:.)*)?)$`)

func FuzzTraceparent(f *testing.F) {
	for _, s := range []string{example, "cc-12345678901234567890123456789012-1234567890123456-01-what", "", "00-"} {
		f.Add(s, "a=1")
	}
	f.Fuzz(func(t *testing.T, parent, state string) {
		read, ok := parse(parent)
		want := grammar.MatchString(parent) && strings.Trim(parent[3:35], "0") != "" && strings.Trim(parent[36:52], "0") != ""
		if ok != want {
			t.Fatalf("%q is a traceparent: %v, want %v", parent, ok, want)
		}
		if !ok {
			return
		}
		if again, ok := parse(read.Parent()); !ok || again != read {
			t.Fatalf("%q went on as %q, which is read as %+v", parent, read.Parent(), again)
		}
		if kept := checkState([]string{state}); len(kept) > maxState || checkState([]string{kept}) != kept {
			t.Fatalf("tracestate %q is sent on as %q, and that as %q", state, kept, checkState([]string{kept}))
		}
	})
}

func TestAClientsIDIsNotedIfItCanBeLookedFor(t *testing.T) {
	for _, id := range []string{"0cb1de6f-6a2c-4d70-b0b3-35b6f0b8d5b1", "!~", strings.Repeat("x", maxClientID)} {
		if got := ClientID(id); got != id {
			t.Errorf("%q is noted as %q", id, got)
		}
	}
	for _, ids := range [][]string{nil, {""}, {"a", "b"}, {"a b"}, {"a\tb"}, {"\x7f"}, {"é"}, {strings.Repeat("x", maxClientID+1)}} {
		if got := ClientID(ids...); got != "" {
			t.Errorf("%q is noted as %q", ids, got)
		}
	}
}

func TestATrailGoesWithAContext(t *testing.T) {
	if _, ok := From(context.Background()); ok {
		t.Error("a context without a trail has one")
	}
	want := Begin("A1")
	ctx, cancel := context.WithCancel(With(t.Context(), want))
	defer cancel()
	other := Copy(context.Background(), ctx)
	if got, ok := From(other); !ok || got != want {
		t.Errorf("copied %+v, want %+v", got, want)
	}
	cancel()
	if other.Err() != nil {
		t.Error("what was copied ends with what it was copied from")
	}
	if Copy(context.Background(), t.Context()) != context.Background() {
		t.Error("to copy no trail makes a context")
	}
}

func TestATrailThatIsNotThereCostsNothing(t *testing.T) {
	ctx, with := t.Context(), With(t.Context(), Begin("A1"))
	if n := testing.AllocsPerRun(100, func() {
		Copy(context.Background(), ctx)
		From(with)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// Contexts of the standard library find what ends through ours without a
// goroutine for each: the race of the two would show here as a deadlock.
func TestAContextWithATrailEndsWithItsParent(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	child, stop := context.WithCancel(With(parent, Begin("A1")))
	defer stop()
	cancel()
	if child.Err() == nil {
		t.Error("the child of a context with a trail did not end at once")
	}
}

func BenchmarkContinue(b *testing.B) {
	parent, state := []string{example}, []string{"congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"}
	for b.Loop() {
		Continue("A1", parent, state)
	}
}

func BenchmarkBegin(b *testing.B) {
	for b.Loop() {
		Begin("A1")
	}
}
