package trace

import (
	"slices"
	"strings"
	"testing"
)

func TestTheFormatsOfTracesAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		format Format
		text   string
		want   []uint64 // nil: an error
	}{
		"LIRS":            {LIRS, "1\n2\n*\n\n1\n", []uint64{1, 2, 1}},
		"ARC":             {ARC, "10 3 0 0\n7 1 0 1\n", []uint64{10, 11, 12, 7}},
		"limit":           {ARC, "10 60000 0 0\n", []uint64{10, 11, 12, 13, 14, 15, 16, 17, 18, 19}},
		"no number":       {LIRS, "1\nx\n", nil},
		"too few":         {ARC, "1 2\n", nil},
		"run of any size": {ARC, "1 99999999 0 0\n", nil},
	} {
		got, err := Parse(strings.NewReader(c.text), c.format, 10)
		if (err != nil) != (c.want == nil) || c.want != nil && !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("1 2 3 4\n*\n5", true)
	f.Fuzz(func(t *testing.T, text string, arc bool) {
		format := LIRS
		if arc {
			format = ARC
		}
		if keys, _ := Parse(strings.NewReader(text), format, 1000); len(keys) > 1000 {
			t.Errorf("%d requests", len(keys))
		}
	})
}
