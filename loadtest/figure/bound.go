package figure

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// operators in the order in which they are looked for: the longer ones first.
var operators = []string{"<=", ">=", "<", ">", "="}

// holds says whether value op limit is true.
func holds(op string, value, limit float64) bool {
	switch op {
	case "<":
		return value < limit
	case "<=":
		return value <= limit
	case ">":
		return value > limit
	case ">=":
		return value >= limit
	}
	return value == limit
}

// A Bound is what a figure is to keep, such as p99<5ms.
type Bound struct {
	Figure Figure
	Op     string // <, <=, =, >= or >
	Limit  float64
	text   string
}

// String returns the bound as it was written.
func (b Bound) String() string { return b.text }

// ParseBounds reads bounds with commas between them: p99<5ms,errors<0.01%,unsent=0.
// Durations have a unit; shares are written as 0.01% or 0.0001; rates and
// counts are numbers.
func ParseBounds(text string) ([]Bound, error) {
	var bounds []Bound
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		f, op, value, err := split(part)
		if err != nil {
			return nil, err
		}
		limit, err := f.Unit.parse(value)
		if err != nil {
			return nil, fmt.Errorf("figure: %q: %w", part, err)
		}
		bounds = append(bounds, Bound{f, op, limit, part})
	}
	return bounds, nil
}

// Broken returns the bounds that do not hold, with what was found. A figure
// that lookup does not know breaks its bound: what is not known is not kept.
func Broken(bounds []Bound, lookup func(Figure) (float64, bool)) []string {
	var broken []string
	for _, b := range bounds {
		value, known := lookup(b.Figure)
		switch {
		case !known:
			broken = append(broken, b.Figure.Name+" is not known")
		case math.IsNaN(value) || !holds(b.Op, value, b.Limit):
			broken = append(broken, fmt.Sprintf("%s is %s", b.Figure.Name, b.Figure.Unit.Format(value)))
		}
	}
	return broken
}

// A Change is by how much a figure may not differ between two groups of runs,
// such as p99>+5%.
type Change struct {
	Figure   Figure
	Op       string
	Limit    float64
	Relative bool // Limit is a part of the old value, not an amount
	text     string
}

// String returns the change as it was written.
func (c Change) String() string { return c.text }

// ParseChanges reads changes with commas between them: p99>+5%,errors>+0.001.
// A per cent sign makes a limit relative to the old value, for every figure;
// amounts are in the units of ParseBounds, shares as plain numbers.
func ParseChanges(text string) ([]Change, error) {
	var changes []Change
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		f, op, value, err := split(part)
		if err != nil {
			return nil, err
		}
		c := Change{Figure: f, Op: op, text: part}
		sign := 1.0
		switch unsigned, minus := strings.CutPrefix(value, "-"); {
		case minus:
			value, sign = unsigned, -1
		default:
			value = strings.TrimPrefix(value, "+")
		}
		if number, percent := strings.CutSuffix(value, "%"); percent {
			c.Relative = true
			c.Limit, err = parseNumber(number)
			c.Limit /= 100
		} else {
			c.Limit, err = f.Unit.parse(value)
		}
		if err != nil {
			return nil, fmt.Errorf("figure: %q: %w", part, err)
		}
		if op == "=" {
			return nil, fmt.Errorf("figure: %q: a measured change equals nothing, ask for < or >", part)
		}
		c.Limit *= sign
		changes = append(changes, c)
	}
	return changes, nil
}

// Exceeded reports whether a figure that was old and is new has changed by what
// c names.
func (c Change) Exceeded(old, new float64) bool {
	difference := new - old
	if c.Relative {
		difference = Relative(old, new)
	}
	return holds(c.Op, difference, c.Limit)
}

// Relative returns by which part of old the value new differs: 0.05 is 5 % more.
// From nothing to something it is infinite, from nothing to nothing 0.
func Relative(old, new float64) float64 {
	switch {
	case old == new:
		return 0
	case old == 0:
		return math.Inf(int(math.Copysign(1, new)))
	}
	return (new - old) / math.Abs(old)
}

// split cuts "p99<5ms" into its figure, operator and value.
func split(part string) (f Figure, op, value string, err error) {
	for _, op := range operators {
		name, value, found := strings.Cut(part, op)
		if !found {
			continue
		}
		f, err := Parse(strings.TrimSpace(name))
		return f, op, strings.TrimSpace(value), err
	}
	return f, "", "", fmt.Errorf("figure: %q has no comparison: write it as p99<5ms", part)
}

// parse reads a value that is not negative.
func (u Unit) parse(text string) (float64, error) {
	switch u {
	case Seconds:
		if text == "0" {
			return 0, nil
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("%q is no duration such as 5ms", text)
		}
		return d.Seconds(), nil
	case Share:
		number, percent := strings.CutSuffix(text, "%")
		v, err := parseNumber(number)
		if percent {
			v /= 100
		}
		if err == nil && v > 1 {
			err = fmt.Errorf("%q is more than everything: write shares as 0.01%% or 0.0001", text)
		}
		return v, err
	}
	return parseNumber(text)
}

func parseNumber(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0) || math.IsInf(v, 1) {
		return 0, fmt.Errorf("%q is no number from 0 on", text)
	}
	return v, nil
}
