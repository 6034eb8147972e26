//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/micelio/micelio/node"
)

// script returns the path of a file with the completion for a shell.
func script(t *testing.T, shell string) string {
	t.Helper()
	code, text, stderr := runWith(t, nil, "completion", shell)
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// completions are lines up to the cursor and what has to be offered: some, and
// not others.
var completions = []struct {
	line     string
	has      []string
	hasNot   []string
	zshTyped string // what the line becomes in zsh, "" for one that is not unique
}{
	{"wh", []string{"where"}, []string{"serve"}, "where "},
	{"", []string{"serve", "completion", "top"}, []string{"--listen"}, ""},
	{"--log-f", []string{"--log-format"}, []string{"--log-level"}, "--log-format="},
	{"--log-format ", []string{"auto", "text", "json"}, []string{"--listen"}, ""},
	{"serve --env pro", []string{"production"}, []string{"test"}, "serve --env production "},
	{"config --env=pro", []string{"production"}, []string{"test"}, "config --env=production "},
	{"serve --join a:1 --allow-w", []string{"--allow-weak-origin"}, nil, "serve --join a:1 --allow-weak-origin "},
	{"where --chec", []string{"--check"}, []string{"--json"}, "where --check "},
	{"where --check --js", []string{"--json"}, nil, "where --check --json "},
	{"presign --method P", []string{"PUT"}, []string{"GET"}, "presign --method PUT "},
	{"completion f", []string{"fish"}, []string{"bash"}, "completion fish "},
	{"help pres", []string{"presign"}, nil, "help presign "},
	{"version --", []string{"--help"}, []string{"--listen"}, ""},
	{"--config a", []string{"a file.conf"}, []string{"serve"}, `--config a\ file.conf `},
	{"--cluster-secret-file a", []string{"a file.conf"}, nil, `--cluster-secret-file a\ file.conf `},
	{"migrate --journal a", []string{"a file.conf"}, nil, `migrate --journal a\ file.conf `},
	{"--data-dir ", []string{"folder"}, []string{"a file.conf"}, "--data-dir folder/"},
	{"--listen ", nil, []string{"folder", "serve"}, ""},
}

// aFolder returns a folder with something to complete.
func aFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a file.conf"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// judge compares what a shell offers for each line, one in turn after a line with
// "==", with what it should.
func judge(t *testing.T, shell, out string) {
	t.Helper()
	answers := strings.Split(out, "==\n")[1:]
	if len(answers) != len(completions) {
		t.Fatalf("%s: %d answers to %d lines:\n%s", shell, len(answers), len(completions), out)
	}
	for i, c := range completions {
		var offered []string
		for word := range strings.Lines(answers[i]) {
			word, _, _ = strings.Cut(strings.TrimSuffix(word, "\n"), "\t")
			if at := strings.LastIndex(c.line, "="); at > 0 { // fish offers the whole word
				word = strings.TrimPrefix(word, c.line[strings.LastIndex(c.line, " ")+1:at+1])
			}
			offered = append(offered, strings.TrimSuffix(strings.ReplaceAll(word, `\ `, " "), "/"))
		}
		for _, want := range c.has {
			if !slices.Contains(offered, want) {
				t.Errorf("%s: %q: got %q, want %q among them", shell, c.line, offered, want)
			}
		}
		for _, no := range c.hasNot {
			if slices.Contains(offered, no) {
				t.Errorf("%s: %q: got %q, with %q", shell, c.line, offered, no)
			}
		}
	}
}

func TestBashCompletes(t *testing.T) {
	bash, path := tool(t, "bash"), script(t, "bash")
	if out, err := exec.Command(bash, "-n", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "set -u\nsource %s\n", path)
	for _, c := range completions {
		// Readline splits words at "=" too.
		words := strings.Split(strings.ReplaceAll(c.line, "=", " = "), " ")
		fmt.Fprintf(&b, "echo ==; COMP_WORDS=(micelio-node")
		for _, w := range words {
			fmt.Fprintf(&b, " '%s'", w)
		}
		fmt.Fprintf(&b, "); COMP_CWORD=%d; _micelio_node; ((${#COMPREPLY[@]})) && printf '%%s\\n' \"${COMPREPLY[@]}\"\n", len(words))
	}
	cmd := exec.Command(bash, "--norc", "--noprofile", "-c", b.String()+"true")
	cmd.Dir = aFolder(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	judge(t, "bash", string(out))
}

func TestFishCompletes(t *testing.T) {
	fish, path := tool(t, "fish"), script(t, "fish")
	var b strings.Builder
	fmt.Fprintf(&b, "source %s\n", path)
	for _, c := range completions {
		fmt.Fprintf(&b, "echo ==; complete -C 'micelio-node %s'\n", c.line)
	}
	cmd := exec.Command(fish, "--no-config", "-c", b.String())
	cmd.Dir, cmd.Env = aFolder(t), append(os.Environ(), "HOME="+t.TempDir())
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		t.Fatalf("%v\n%s", err, said.String())
	}
	judge(t, "fish", string(out))
}

// zsh completes only where somebody types.
func TestZshCompletes(t *testing.T) {
	zsh, path := tool(t, "zsh"), script(t, "zsh")
	if out, err := exec.Command(zsh, "-n", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	person, program := openTerminal(t)
	defer person.Close()
	cmd := exec.Command(zsh, "-f", "-i")
	cmd.Dir, cmd.Env = aFolder(t), []string{"TERM=dumb", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	program.Close()
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	var seen []byte
	buf := make([]byte, 4096)
	until := func(end string) string {
		t.Helper()
		for !bytes.Contains(seen, []byte(end)) {
			n, err := person.Read(buf)
			if err != nil {
				t.Fatalf("%v after %q", err, seen)
			}
			seen = append(seen, buf[:n]...)
		}
		before, after, _ := bytes.Cut(seen, []byte(end))
		seen = after
		return string(before)
	}
	// ZLE would shorten long lines on such a terminal: a widget shows them whole.
	fmt.Fprintf(person, "unsetopt prompt_sp; PS1=; autoload -U compinit; compinit -u -D; source %s; "+
		"show() { print -r -- \"<$LBUFFER|>\"; zle kill-buffer }; zle -N show; bindkey '^T' show; stty cols 500; print -r -- RE''ADY\n", path)
	until("READY")
	for _, c := range completions {
		if c.zshTyped == "" {
			continue
		}
		fmt.Fprintf(person, "micelio-node %s\t\x14", c.line)
		got := until("|>")
		got = got[strings.LastIndex(got, "<")+1:]
		if want := "micelio-node " + c.zshTyped; strings.TrimRight(got, " ") != strings.TrimRight(want, " ") {
			t.Errorf("%q becomes %q, want %q", c.line, got, want)
		}
	}
}

func TestACompletionIsOneOfAKnownShell(t *testing.T) {
	for _, args := range [][]string{nil, {"tcsh"}, {"bash", "zsh"}} {
		code, stdout, stderr := runWith(t, nil, append([]string{"completion"}, args...)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, "bash|zsh|fish") {
			t.Errorf("%q: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
}

// A value that the program does not offer must be refused and one that it offers
// accepted, and a setting that refuses all but some must offer those.
func TestOfferedValuesAreThoseThatAreAccepted(t *testing.T) {
	problemsWith := func(s *setting, text string) string {
		l := load(parseFlags([]string{"--s3-bucket=bucket", "--" + s.name + "=" + text}, nil), nil)
		return strings.Join(l.check(), "\n")
	}
	refusal := regexp.MustCompile(`is unknown: use |is not a log level: use `)
	for i := range settings {
		s := &settings[i]
		if _, isText := s.value(&options{}).(textValue); s.flagged || !isText && s.choices == nil {
			continue
		}
		refused := refusal.MatchString(problemsWith(s, "nonsense"))
		if refused != (s.choices != nil) {
			t.Errorf("--%s offers %q, and nonsense is refused: %v", s.name, s.choices, refused)
		}
		for _, choice := range s.choices {
			if p := problemsWith(s, choice); strings.Contains(p, "is unknown") || strings.Contains(p, "is not a log level") {
				t.Errorf("--%s offers %q: %s", s.name, choice, p)
			}
		}
	}
	if !slices.Contains(settings[1].choices, node.Production) {
		t.Errorf("--%s offers %q", settings[1].name, settings[1].choices)
	}
}

// A script knows a flag by its name alone.
func TestAFlagIsOfOneKindWhateverTheCommand(t *testing.T) {
	seen := map[string]flagDoc{}
	for _, d := range everyFlag() {
		if other, found := seen[d.name]; found && (other.arg != d.arg || !slices.Equal(other.choices, d.choices)) {
			t.Errorf("--%s is %q and %q", d.name, other.arg, d.arg)
		}
		seen[d.name] = d
		if !regexp.MustCompile(`^[a-z0-9-]+$`).MatchString(d.name) {
			t.Errorf("%q is no plain name", d.name)
		}
		for _, c := range d.choices {
			if !regexp.MustCompile(`^[A-Za-z0-9:_-]+$`).MatchString(c) {
				t.Errorf("--%s: %q is no plain value", d.name, c)
			}
		}
	}
}
