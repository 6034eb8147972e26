package main

import (
	"cmp"
	"strings"

	"github.com/micelio/micelio/node"
)

// A flagDoc is a flag as those describe it who do not read it: the manual page and
// the completion of shells.
type flagDoc struct {
	name     string
	arg      string // placeholder for the value, "" for a switch
	help     string
	choices  []string // all that the value may be, nil if it may be more
	repeated bool     // it may be given more than once
}

// The placeholders of values that are paths.
const (
	fileArg = "FILE"
	dirArg  = "DIR"
)

// flagDocs returns the flags of all settings, in the order of the help.
func flagDocs() (docs []flagDoc) {
	for _, s := range settings {
		_, isList := s.value(&options{}).(listValue)
		docs = append(docs, flagDoc{s.name, s.arg, s.help, s.choices, isList})
		if s.secret {
			docs = append(docs, flagDoc{name: s.name + fileSuffix, arg: fileArg, help: "read what --" + s.name + " is from FILE"})
		}
	}
	return docs
}

// flagDocs returns the flags that only the command has.
func (c *command) flagDocs() (docs []flagDoc) {
	for _, f := range c.ownFlags() {
		doc := flagDoc{name: f.name, arg: f.arg, help: f.help}
		if strings.Contains(f.arg, "|") {
			doc.choices = strings.Split(f.arg, "|")
		}
		docs = append(docs, doc)
	}
	return docs
}

// fallback says what the setting is where nothing sets it.
func (s *setting) fallback(defaults *options) string {
	return cmp.Or(s.derived, s.value(defaults).String(), "none")
}

// theDefaults are the settings where nothing sets them.
func theDefaults() *options { return &options{Config: node.DefaultConfig()} }
