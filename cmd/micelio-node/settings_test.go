package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/node"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestTheHelpIsReviewed(t *testing.T) {
	golden := filepath.Join("testdata", "help.golden")
	code, got, _ := runWith(t, nil, "-h")
	if code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("run the test with -update if this is meant (-want +got):\n%s", diff)
	}
}

func TestEverySettingIsInTheHelp(t *testing.T) {
	_, help, _ := runWith(t, nil, "help")
	for _, s := range settings {
		for _, want := range append(s.names(), s.help, s.group) {
			if !strings.Contains(help, want) {
				t.Errorf("%s: the help does not say %q", s.name, want)
			}
		}
		for _, v := range s.variables() {
			if !regexp.MustCompile(`\b` + v.name + `\b`).MatchString(help) {
				t.Errorf("%s: the help does not name the variable %s", s.name, v.name)
			}
		}
	}
}

func TestEveryFieldOfTheConfigurationHasOneSetting(t *testing.T) {
	var o options
	places := map[uintptr]string{}
	for _, s := range settings {
		p := reflect.ValueOf(s.value(&o)).Field(0).Pointer()
		if other, taken := places[p]; taken {
			t.Errorf("%s and %s set the same field", s.name, other)
		}
		places[p] = s.name
	}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		for i := range v.NumField() {
			field, name := v.Field(i), path+v.Type().Field(i).Name
			if field.Type() == reflect.TypeFor[node.Program]() {
				continue // nobody sets it
			}
			if field.Kind() == reflect.Struct {
				walk(name+".", field)
			} else if _, ok := places[field.Addr().Pointer()]; !ok {
				t.Errorf("no setting for %s", name)
			}
		}
	}
	walk("", reflect.ValueOf(&o).Elem())
}

func TestEveryNameIsUsedOnce(t *testing.T) {
	seen := map[string]string{}
	once := func(kind, name, setting string) {
		if other, taken := seen[kind+name]; taken {
			t.Errorf("%s %s belongs to %s and %s", kind, name, other, setting)
		}
		seen[kind+name] = setting
	}
	for _, s := range settings {
		for _, name := range s.names() {
			once("flag", name, s.name)
		}
		for _, v := range s.variables() {
			once("variable", v.name, s.name)
			once("variable", v.name+fileVarSuffix, s.name)
		}
	}
}

// sample returns three texts that the setting accepts, none its default.
func sample(s *setting) [3]string {
	switch s.value(&options{}).(type) {
	case boolValue:
		return [3]string{"true", "false", "true"}
	case sizeValue, intValue:
		return [3]string{"1001", "1002", "1003"}
	case durationValue:
		return [3]string{"1.001s", "1.002s", "1.003s"}
	case levelValue:
		return [3]string{"debug", "warn", "error"}
	case urlValue:
		return [3]string{"https://one.example", "https://two.example", "https://three.example"}
	}
	return [3]string{"one", "two", "three"}
}

func TestAFlagBeatsTheEnvironmentBeatsTheFileBeatsTheDefault(t *testing.T) {
	for i := range settings {
		s := &settings[i]
		if s.flagged {
			continue
		}
		texts := sample(s)
		file := filepath.Join(t.TempDir(), "micelio.conf")
		if err := os.WriteFile(file, []byte("# a comment\n\n"+s.name+" "+texts[0]+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		want := func(args []string, env environ, text string, from source) {
			t.Helper()
			l := load(parseFlags(args, nil), env)
			if len(l.problems)+len(l.warnings) > 0 {
				t.Errorf("%s: %q, %q", s.name, l.problems, l.warnings)
			}
			var o options
			if err := s.value(&o).set(text); err != nil {
				t.Fatal(err)
			}
			if got, want := held(s.value(&l.options)), held(s.value(&o)); got != want {
				t.Errorf("%s from %v: got %s, want %s", s.name, from, got, want)
			}
			if l.from[s.name] != from {
				t.Errorf("%s: got %v, want it from %v", s.name, l.from[s.name], from)
			}
		}
		args := []string{"--config", file}
		want(args, nil, texts[0], source{"file", file + ":3"})
		// Weaker variables first: each one added beats those before it.
		env := environ{}
		variables := s.variables()
		for j := len(variables) - 1; j >= 0; j-- {
			v := variables[j]
			text := texts[1]
			if v.unit != "" {
				env[v.name] = "1002" // one of the sample, without its unit
			} else {
				env[v.name] = text
			}
			want(args, env, text, source{"environment", v.name})
		}
		want(append(args, "--"+s.name+"="+texts[2]), env, texts[2], source{"flag", "--" + s.name})
	}
}

func TestDefaultsAreUsedWhereNothingIsSet(t *testing.T) {
	l := load(parseFlags(nil, nil), nil)
	if len(l.from)+len(l.problems)+len(l.warnings) > 0 {
		t.Errorf("got %v, %q, %q", l.from, l.problems, l.warnings)
	}
	if problems := l.check(); problems != nil {
		t.Error(problems)
	}
}

// held prints what is in the place of a value, secrets too: fmt calls no method
// of what an unexported field led to.
func held(v value) string { return fmt.Sprint(reflect.ValueOf(v).Field(0).Elem()) }
