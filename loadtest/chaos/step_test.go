package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/micelio/micelio/loadtest"
)

func TestStepsAreReadInTheOrderOfTheirTimes(t *testing.T) {
	got, err := ParseSteps("freeze:2@30s+3s, kill:0@10s,drain:1@20s+5s,run:0@1m+10s")
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{
		{Kill, 0, 10 * time.Second, 0}, {Drain, 1, 20 * time.Second, 5 * time.Second},
		{Freeze, 2, 30 * time.Second, 3 * time.Second}, {Run, 0, time.Minute, 10 * time.Second},
	}
	if !slices.Equal(got, want) {
		t.Errorf("the steps are %v, want %v", got, want)
	}
	for line := range strings.Lines(Syntax) {
		if example, _, _ := strings.Cut(line, " "); strings.Contains(example, "@") {
			if _, err := ParseSteps(example); err != nil {
				t.Errorf("the help has %s: %v", example, err)
			}
		}
	}
}

func TestStepsThatAreNone(t *testing.T) {
	for _, text := range []string{"", "kill", "kill:0", "kill:0@", "kill:x@1s", "kill:-1@1s", "kill:0@-1s", "kill:0@1s+", "kill:0@1s+0s", "burn:0@1s", "freeze:0@1s", "kill:0@1s,"} {
		if steps, err := ParseSteps(text); err == nil {
			t.Errorf("%q is taken for %v", text, steps)
		}
	}
}

// What is written is read back as the same step.
func FuzzSteps(f *testing.F) {
	for _, seed := range []string{"kill:0@10s", "drain:1@20s+5s", "freeze:2@1h3m+3ms,run:0@1m+10s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		steps, err := ParseSteps(text)
		if err != nil {
			return
		}
		var texts []string
		for _, s := range steps {
			texts = append(texts, s.String())
		}
		back, err := ParseSteps(strings.Join(texts, ","))
		if err != nil || !slices.Equal(back, steps) {
			t.Fatalf("%q became %v and, written and read again, %v (%v)", text, steps, back, err)
		}
	})
}

func TestWhatCannotBeDoneIsRefusedBeforehand(t *testing.T) {
	command, pid := Node{Command: "true"}, Node{PID: 12345}
	for _, c := range []struct {
		name  string
		nodes []Node
		hooks []Hook
		steps string
	}{
		{"no steps", []Node{command}, nil, ""},
		{"no such node", []Node{command}, nil, "kill:1@10s"},
		{"no such hook", []Node{command}, nil, "run:0@10s"},
		{"a hook without an end", nil, []Hook{{Do: "true"}}, "run:0@10s+1s"},
		{"a process that is to start again", []Node{pid}, nil, "kill:0@10s+1s"},
		{"everything's parent", []Node{{PID: 1}}, nil, "kill:0@10s"},
		{"a group of processes", []Node{{PID: -5}}, nil, "kill:0@10s"},
		{"neither", []Node{{}}, nil, "kill:0@10s"},
		{"both", []Node{{Command: "true", PID: 5}}, nil, "kill:0@10s"},
		{"two at a time", []Node{command}, nil, "freeze:0@10s+5s,kill:0@12s"},
		{"too near to be told apart", []Node{command}, nil, "kill:0@10s+2s,kill:0@15s"},
		{"too early", []Node{command}, nil, "kill:0@3s"},
		{"too late", []Node{command}, nil, "kill:0@20s+8s"},
	} {
		cfg := Config{Load: loadtest.Config{Duration: 30 * time.Second}, Nodes: c.nodes, Hooks: c.hooks}
		if c.steps != "" {
			var err error
			if cfg.Steps, err = ParseSteps(c.steps); err != nil {
				t.Fatal(err)
			}
		}
		if err := cfg.check(); err == nil {
			t.Errorf("%s: would be done", c.name)
		}
	}
	cfg := Config{Load: loadtest.Config{Duration: 30 * time.Second}, Nodes: []Node{command, pid}, Hooks: []Hook{{"true", "true"}}}
	cfg.Steps, _ = ParseSteps("kill:0@4s+1s,freeze:1@10s+1s,run:0@20s+6s")
	if err := cfg.check(); err != nil {
		t.Errorf("what can be done is refused: %v", err)
	}
}
