package node

import (
	"strings"
	"testing"
)

var (
	secretA = strings.Repeat("a1", 16)
	secretB = strings.Repeat("b2", 16)
)

func TestTheFirstClusterSecretIsTheOneInUse(t *testing.T) {
	for _, tt := range []struct {
		setting string
		want    []string
	}{
		{"", nil},
		{" \n\t\n", nil},
		{secretA, []string{secretA}},
		{secretA + "\r\n", []string{secretA}},
		{"\n  " + secretB + "\n\n" + secretA + " \n", []string{secretB, secretA}},
	} {
		c := DefaultConfig()
		c.ClusterSecret = Secret(tt.setting)
		var got []string
		for _, s := range c.ClusterSecrets() {
			got = append(got, string(s))
		}
		if strings.Join(got, "|") != strings.Join(tt.want, "|") {
			t.Errorf("%d characters: got %q, want %q", len(tt.setting), got, tt.want)
		}
		first := ""
		if len(tt.want) > 0 {
			first = tt.want[0]
		}
		if got := string(c.currentSecret()); got != first {
			t.Errorf("%d characters: the current one is %q, want %q", len(tt.setting), got, first)
		}
	}
}

func TestAClusterSecretThatCanBeGuessedIsRefused(t *testing.T) {
	for _, tt := range []struct{ setting, problem string }{
		{"", ""},
		{secretA, ""},
		{secretA + "\n" + secretB, ""},
		{" \n", "nothing but white space"},
		{secretA[1:], "secret 1 of 1 has 31 characters"},
		{strings.Repeat(" ", 40) + "short", "secret 1 of 1 has 5 characters"},
		{secretA + "\nshort", "secret 2 of 2 has 5 characters"},
	} {
		c := DefaultConfig()
		c.ClusterSecret = Secret(tt.setting)
		got := faults(t, c)
		switch {
		case tt.problem == "" && got == nil:
		case tt.problem == "" || len(got) != 1 || got[0].Setting != "cluster-secret" || !strings.Contains(got[0].Problem, tt.problem):
			t.Errorf("%d characters: got %v, want only …%s…", len(tt.setting), got, tt.problem)
		}
	}
}
