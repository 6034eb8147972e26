package loadtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Bounds of a Mix. They keep a slip of the finger from filling a disk or the
// memory; none is near what is useful.
const (
	maxParts     = 100
	maxKeys      = 1e9
	maxVerified  = 10e6 // names that are kept, 32 bytes each
	maxSize      = 1 << 40
	maxSizesList = 10e6
	maxExponent  = 20.0
	maxSigma     = 10.0
)

// String returns the name of the operation, as Series.Op and Ops have it.
func (o Op) String() string {
	switch o {
	case OpGet:
		return "get"
	case OpHead:
		return "head"
	case OpPut:
		return "put"
	case OpRange:
		return "range"
	case OpList:
		return "list"
	}
	return "op" + strconv.Itoa(int(o))
}

func (o Ops) weights() [opCount]float64 {
	return [opCount]float64{OpGet: o.Get, OpHead: o.Head, OpPut: o.Put, OpRange: o.Range, OpList: o.List}
}

// ParseOps reads frequencies: "get:8,head:1,put:1", or "get" for one alone.
func ParseOps(s string) (Ops, error) {
	var o Ops
	fields := map[string]*float64{"get": &o.Get, "head": &o.Head, "put": &o.Put, "range": &o.Range, "list": &o.List}
	for text := range strings.SplitSeq(s, ",") {
		name, weight, weighted := strings.Cut(text, ":")
		field := fields[name]
		if field == nil {
			return Ops{}, fmt.Errorf("%q is none of get, head, put, range, list", name)
		}
		delete(fields, name)
		if *field = 1; weighted {
			var err error
			if *field, err = strconv.ParseFloat(weight, 64); err != nil || !isWeight(*field) {
				return Ops{}, fmt.Errorf("%q is no frequency of %s", weight, name)
			}
		}
	}
	if o == (Ops{}) {
		return Ops{}, fmt.Errorf("with %q nothing would ever be asked for", s)
	}
	return o, nil
}

// isWeight reports whether w can be a relative frequency. The bound keeps sums
// finite.
func isWeight(w float64) bool { return w >= 0 && w <= 1e9 }

// ParseSizes reads sizes: "1024" for all alike, "lognormal:MEDIAN,SIGMA" with an
// optional ",MIN,MAX". A number of bytes may have the unit KiB, MiB or GiB.
func ParseSizes(s string) (Sizes, error) {
	rest, ok := strings.CutPrefix(s, SizesLogNormal+":")
	if !ok {
		n, err := parseBytes(s)
		return Sizes{Kind: SizesFixed, Bytes: n}, err
	}
	fields := strings.Split(rest, ",")
	if len(fields) != 2 && len(fields) != 4 {
		return Sizes{}, fmt.Errorf("%q is not lognormal:MEDIAN,SIGMA or lognormal:MEDIAN,SIGMA,MIN,MAX", s)
	}
	sizes := Sizes{Kind: SizesLogNormal}
	var errs [4]error
	sizes.Bytes, errs[0] = parseBytes(fields[0])
	sizes.Sigma, errs[1] = strconv.ParseFloat(fields[1], 64)
	if len(fields) == 4 {
		sizes.Min, errs[2] = parseBytes(fields[2])
		sizes.Max, errs[3] = parseBytes(fields[3])
	}
	if err := errors.Join(errs[:]...); err != nil {
		return Sizes{}, err
	}
	return sizes, sizes.check()
}

func parseBytes(s string) (int64, error) {
	number, unit := s, int64(1)
	for name, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if before, ok := strings.CutSuffix(s, name); ok {
			number, unit = before, factor
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > maxSize/unit {
		return 0, fmt.Errorf("%q is no number of bytes from 0 to 1024 GiB", s)
	}
	return n * unit, nil
}

// ReadSizes reads the sizes of real objects, a number of bytes on each line, for
// Sizes.List.
func ReadSizes(r io.Reader) (Sizes, error) {
	sizes := Sizes{Kind: SizesList}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		n, err := parseBytes(strings.TrimSpace(lines.Text()))
		if err != nil {
			return Sizes{}, fmt.Errorf("line %d: %w", len(sizes.List)+1, err)
		}
		if sizes.List = append(sizes.List, n); len(sizes.List) > maxSizesList {
			return Sizes{}, fmt.Errorf("more than %g sizes", maxSizesList)
		}
	}
	if err := lines.Err(); err != nil {
		return Sizes{}, err
	}
	return sizes, sizes.check()
}

func (s Sizes) check() error {
	switch s.Kind {
	case "", SizesFixed:
		if s.Bytes < 0 || s.Bytes > maxSize {
			return fmt.Errorf("objects of %d bytes", s.Bytes)
		}
	case SizesLogNormal:
		if s.Bytes < 1 || s.Bytes > maxSize || !(s.Sigma >= 0 && s.Sigma <= maxSigma) {
			return fmt.Errorf("sizes around a median of %d bytes with sigma %g (from 0 to %g)", s.Bytes, s.Sigma, maxSigma)
		}
		if s.Min < 0 || s.Max < 0 || s.Max > maxSize || (s.Max > 0 && s.Max < s.Min) {
			return fmt.Errorf("sizes from %d to %d bytes", s.Min, s.Max)
		}
	case SizesList:
		if len(s.List) == 0 {
			return errors.New("a list of no sizes")
		}
		for _, n := range s.List {
			if n < 0 || n > maxSize {
				return fmt.Errorf("an object of %d bytes", n)
			}
		}
	default:
		return fmt.Errorf("%q is no kind of sizes", s.Kind)
	}
	return nil
}

func (m Mix) check() error {
	if len(m.Parts) == 0 || len(m.Parts) > maxParts {
		return fmt.Errorf("a mix of %d parts, want 1 to %d", len(m.Parts), maxParts)
	}
	names := map[string]bool{}
	total := 0.0
	for i := range m.Parts {
		p := &m.Parts[i]
		if err := p.check(); err != nil {
			return fmt.Errorf("the part %q of the mix: %w", p.Name, err)
		}
		if names[p.Name] {
			return fmt.Errorf("two parts of the mix are called %q", p.Name)
		}
		names[p.Name] = true
		total += p.Weight
	}
	if total == 0 && len(m.Parts) > 1 {
		return errors.New("no part of the mix has a weight")
	}
	return nil
}

func (p *Part) check() error {
	if p.Name == "" || len(p.Name) > 64 || strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return errors.New("a name is 1 to 64 lower-case letters, digits and dashes")
	}
	switch p.Class {
	case ClassImmutable, ClassMutable:
	case ClassVerified:
		if p.Keys > maxVerified {
			return fmt.Errorf("%d keys of the class %s, at most %g", p.Keys, p.Class, maxVerified)
		}
	default:
		return fmt.Errorf("%q is no class", p.Class)
	}
	sum := 0.0
	for _, w := range p.Ops.weights() {
		if !isWeight(w) {
			return fmt.Errorf("a frequency of %g", w)
		}
		sum += w
	}
	switch {
	case !isWeight(p.Weight):
		return fmt.Errorf("a weight of %g", p.Weight)
	case sum == 0:
		return errors.New("no operation has a frequency")
	case p.Keys < 1 || p.Keys > maxKeys:
		return fmt.Errorf("%d keys, want 1 to %g", p.Keys, maxKeys)
	}
	return errors.Join(p.Access.check(p.Keys), p.Sizes.check())
}

func (a *Access) check(keys int64) error {
	switch a.Kind {
	case "", AccessUniform, AccessScan:
	case AccessZipf:
		if !(a.Exponent >= 0 && a.Exponent <= maxExponent) {
			return fmt.Errorf("an exponent of %g, want 0 to %g", a.Exponent, maxExponent)
		}
	case AccessHot:
		if a.HotKeys < 1 || a.HotKeys > keys || !(a.HotShare >= 0 && a.HotShare <= 1) {
			return fmt.Errorf("%d hot keys of %d with a share of %g", a.HotKeys, keys, a.HotShare)
		}
	default:
		return fmt.Errorf("%q is no kind of access", a.Kind)
	}
	if a.ShiftEvery < 0 || !(a.ShiftBy >= 0 && a.ShiftBy <= 1) || math.IsNaN(a.ShiftBy) {
		return fmt.Errorf("a shift by %g every %v", a.ShiftBy, a.ShiftEvery)
	}
	return nil
}
