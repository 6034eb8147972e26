package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/micelio/micelio/node"
)

// A loaded is the outcome of reading all sources.
type loaded struct {
	options  options             // resolved
	from     map[string]source   // by the name of the setting
	beaten   map[string][]source // the weaker sources that had it too
	problems []string            // one line each
	warnings []string
}

// A source is where the value of a setting came from. The zero source is the
// default.
type source struct {
	kind string // "flag", "environment" or "file"
	name string // as the user wrote it: --listen, MICELIO_LISTEN, micelio.conf:3
}

// blame returns how a problem with the value of a setting begins: with the name
// that the user gave it, which the place in a file does not tell.
func (f source) blame(setting string) string {
	switch f.kind {
	case "":
		return "--" + setting
	case "file":
		return f.name + ": " + setting
	}
	return f.name
}

// A text is a value as the user wrote it.
type text struct {
	value string
	from  source
}

// load reads flags, environment and file. Each setting comes from the first of
// these that has it, else from the defaults, but what is wrong in the others is
// reported too: a mistake that is hidden today surprises on another day.
func load(g given, env environ) *loaded {
	l := &loaded{
		options:  options{Config: node.DefaultConfig()},
		from:     map[string]source{},
		beaten:   map[string][]source{},
		problems: g.problems,
		warnings: env.misspelt(),
	}
	find := func(s *setting) {
		l.set(s, l.fromEnvironment(s, env))
		l.set(s, l.fromFlags(s, g.raw))
	}
	for i := range settings {
		if settings[i].flagged {
			find(&settings[i])
		}
	}
	file := l.readLines()
	for i := range settings {
		if s := &settings[i]; !s.flagged {
			l.set(s, l.fromFile(s, file))
			find(s)
		}
	}
	l.credentials()
	l.options.Config = l.options.Resolved()
	l.unused(env)
	return l
}

func (l *loaded) fault(setting string, from source, format string, args ...any) {
	l.problems = append(l.problems, from.blame(setting)+": "+fmt.Sprintf(format, args...))
}

// set gives a setting the texts of one source, which replace those of weaker
// sources. The parts of a list add up; of other values the last one counts.
func (l *loaded) set(s *setting, texts []text) {
	if len(texts) == 0 {
		return
	}
	v := s.value(&l.options)
	last := texts[len(texts)-1]
	if _, isList := v.(listValue); isList {
		parts := make([]string, len(texts))
		for i, t := range texts {
			parts[i] = t.value
		}
		last.value = strings.Join(parts, ",")
	}
	if err := v.set(last.value); err != nil {
		l.fault(s.name, last.from, "%q %v", last.value, err)
		return
	}
	if weaker, found := l.from[s.name]; found {
		l.beaten[s.name] = append(l.beaten[s.name], weaker)
	}
	l.from[s.name] = last.from
}

func (l *loaded) fromFlags(s *setting, raw map[string][]string) []text {
	var texts []text
	for _, t := range raw[s.name] {
		texts = append(texts, text{t, source{"flag", "--" + s.name}})
	}
	if s.secret {
		for _, path := range raw[s.name+fileSuffix] {
			texts = l.addSecret(s, texts, path, source{"flag", "--" + s.name + fileSuffix})
		}
	}
	return texts
}

// fromEnvironment returns the value of the strongest variable that is set.
func (l *loaded) fromEnvironment(s *setting, env environ) []text {
	for _, v := range s.variables() {
		var texts []text
		if t, ok := env.lookup(v.name); ok {
			texts = append(texts, text{t + v.unit, source{"environment", v.name}})
		}
		if path, ok := env.lookup(v.name + fileVarSuffix); ok && s.secret {
			texts = l.addSecret(s, texts, path, source{"environment", v.name + fileVarSuffix})
		}
		if len(texts) > 0 {
			return texts
		}
	}
	return nil
}

func (l *loaded) fromFile(s *setting, file []fileLine) []text {
	var texts []text
	for _, line := range file {
		switch {
		case line.name == s.name:
			texts = append(texts, text{line.text, line.from})
		case s.secret && line.name == s.name+fileSuffix:
			texts = l.addSecret(s, texts, line.text, line.from)
		}
	}
	if _, isList := s.value(&l.options).(listValue); !isList && len(texts) > 1 {
		l.fault(s.name, texts[1].from, "set for the second time: keep one of the two lines")
	}
	return texts
}

// addSecret reads the secret that is in a file of its own. One line end after
// it is the editor's, not the secret's.
func (l *loaded) addSecret(s *setting, texts []text, path string, from source) []text {
	if len(texts) > 0 {
		l.fault(s.name, from, "%s sets the same secret: keep one of the two", texts[0].from.name)
		return texts
	}
	data, err := readFile(path)
	if err != nil {
		l.fault(s.name, from, "cannot read the secret: %v", err)
		return texts
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if secret == "" {
		l.fault(s.name, from, "the file %s is empty: write the secret into it", path)
		return texts
	}
	return append(texts, text{secret, from})
}

// A fileLine is a line with its place.
type fileLine struct {
	line
	from source
}

// readLines reads the file with settings, if there is one.
func (l *loaded) readLines() []fileLine {
	path := l.options.configFile
	if path == "" {
		return nil
	}
	data, err := readFile(path)
	if err != nil {
		l.fault("config", l.from["config"], "cannot read the settings: %v", err)
		return nil
	}
	lines, problems := parseLines(data)
	for _, p := range problems {
		l.problems = append(l.problems, path+":"+p)
	}
	known := fileNames()
	var file []fileLine
	for _, line := range lines {
		from := source{"file", fmt.Sprintf("%s:%d", path, line.number)}
		if !slices.Contains(known, line.name) {
			l.problems = append(l.problems, fmt.Sprintf("%s: %q is no setting%s", from.name, line.name, didYouMean(line.name, known)))
			continue
		}
		file = append(file, fileLine{line, from})
	}
	return file
}

// fileNames returns the names that a file may set.
func fileNames() []string {
	var names []string
	for _, s := range settings {
		if !s.flagged {
			names = append(names, s.names()...)
		}
	}
	return names
}
