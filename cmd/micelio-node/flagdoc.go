package main

import (
	"cmp"

	"github.com/micelio/micelio/node"
)

// fallback says what the setting is where nothing sets it.
func (s *setting) fallback(defaults *options) string {
	return cmp.Or(s.derived, s.value(defaults).String(), "none")
}

// theDefaults are the settings where nothing sets them.
func theDefaults() *options { return &options{Config: node.DefaultConfig()} }
