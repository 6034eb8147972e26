package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// shells are those that a completion can be printed for.
var shells = []string{"bash", "zsh", "fish"}

// runCompletion prints the completion for a shell.
func (a *app) runCompletion(_ context.Context, args []string) int {
	if asksForHelp(args) {
		a.printHelp(a.named)
		return exitOK
	}
	if len(args) != 1 || !slices.Contains(shells, args[0]) {
		fmt.Fprintf(a.stderr, "micelio-node: name one shell: micelio-node completion %s\n", strings.Join(shells, "|"))
		return exitUsage
	}
	c := &completer{}
	switch args[0] {
	case "bash":
		c.bash()
	case "zsh":
		c.zsh()
	case "fish":
		c.fish()
	}
	fmt.Fprint(a.stdout, c.String())
	return exitOK
}

// A completer writes a script. What is in the tables is plain enough to stand in
// one: letters, digits and punctuation, which each shell has quoted.
type completer struct{ strings.Builder }

func (c *completer) line(format string, args ...any) {
	fmt.Fprintf(c, format+"\n", args...)
}

// names returns the flags that hold for a condition, with dashes.
func names(docs []flagDoc, dashes, between string, holds func(flagDoc) bool) string {
	var found []string
	for _, d := range docs {
		if holds(d) && !slices.Contains(found, dashes+d.name) {
			found = append(found, dashes+d.name)
		}
	}
	return strings.Join(found, between)
}

func (d flagDoc) isSwitch() bool { return d.arg == "" }
func (d flagDoc) isAny() bool    { return true }

// everyFlag returns the flags of settings and of all commands.
func everyFlag() []flagDoc {
	docs := flagDocs()
	all := commands()
	for _, name := range commandNames() {
		c := all[name]
		docs = append(docs, c.flagDocs()...)
	}
	return docs
}

const bashHead = `# Completion of micelio-node for bash, printed by "micelio-node completion bash".

# _micelio_node_add ARGUMENTS... offers what compgen makes of them.
_micelio_node_add() {
	local word
	while IFS= read -r word; do
		COMPREPLY+=("$word")
	done < <(compgen "$@" -- "$cur")
}

_micelio_node() {
	local cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD - 1]} command=serve equals='' flags
	COMPREPLY=()
	# A value behind "=" is a word of its own here, and so is the "=".
	if [[ $cur == = ]]; then
		cur='' equals=yes
	elif [[ $flag == = ]]; then
		flag=${COMP_WORDS[COMP_CWORD - 2]} equals=yes
	fi
	if ((COMP_CWORD > 1)) && [[ ${COMP_WORDS[1]} != -* ]]; then
		command=${COMP_WORDS[1]}
	fi
	if [[ $flag == -* ]]; then
		flag=${flag#-}
		case ${flag#-} in`

// bash writes the script for bash 3.2, which macOS has, and later ones.
func (c *completer) bash() {
	docs := everyFlag()
	c.line(bashHead)
	c.line("\t\t%s)\n\t\t\tif [[ $equals ]]; then\n\t\t\t\t_micelio_node_add -W 'true false'\n\t\t\t\treturn\n\t\t\tfi\n\t\t\t;;", names(docs, "", "|", flagDoc.isSwitch))
	for _, d := range docs {
		if d.choices != nil {
			c.line("\t\t%s)\n\t\t\t_micelio_node_add -W '%s'\n\t\t\treturn\n\t\t\t;;", d.name, strings.Join(d.choices, " "))
		}
	}
	for _, path := range []struct{ arg, action string }{{fileArg, "-f"}, {dirArg, "-d"}} {
		c.line("\t\t%s)\n\t\t\tcompopt -o filenames 2>/dev/null\n\t\t\t_micelio_node_add %s\n\t\t\treturn\n\t\t\t;;",
			names(docs, "", "|", func(d flagDoc) bool { return d.arg == path.arg }), path.action)
	}
	c.line("\t\th|help) ;;\n\t\t*) return ;;\n\t\tesac\n\tfi")
	c.line("\tif ((COMP_CWORD == 1)) && [[ $cur != -* ]]; then\n\t\t_micelio_node_add -W '%s'\n\t\treturn\n\tfi", strings.Join(commandNames(), " "))
	c.line("\tflags='--help %s'", names(flagDocs(), "--", " ", flagDoc.isAny))
	c.line("\tcase $command in")
	all := commands()
	for _, name := range commandNames() {
		cmd := all[name]
		own := names(cmd.flagDocs(), "--", " ", flagDoc.isAny)
		if own != "" {
			c.line("\t%s) flags=\"%s $flags\" ;;", name, own)
		} else if cmd.bare {
			c.line("\t%s) flags='--help' ;;", name)
		}
	}
	c.line("\tesac\n\tif [[ $cur == -* ]]; then\n\t\t_micelio_node_add -W \"$flags\"\n\t\treturn\n\tfi\n\tcase $command in")
	for _, name := range commandNames() {
		if choices := all[name].choices; choices != nil {
			c.line("\t%s) ((COMP_CWORD == 2)) && _micelio_node_add -W '%s' ;;", name, strings.Join(choices, " "))
		}
	}
	c.line("\tesac\n}\n\ncomplete -F _micelio_node micelio-node")
}

// zsh writes the script for zsh's completion system, for its function path or to
// be read.
func (c *completer) zsh() {
	c.line("#compdef micelio-node\n# Completion of micelio-node for zsh, printed by \"micelio-node completion zsh\".\n")
	c.line("_micelio-node() {\n\tlocal -a settings commands\n\tsettings=(\n\t\t'--help[show help]'")
	for _, d := range flagDocs() {
		c.line("\t\t%s", d.zsh())
	}
	c.line("\t)\n\tif ((CURRENT == 2)) && [[ $words[2] != -* ]]; then\n\t\tcommands=(")
	all := commands()
	for _, name := range commandNames() {
		c.line("\t\t\t%s", zshQuote(name+":"+all[name].summary))
	}
	c.line("\t\t)\n\t\t_describe command commands\n\t\treturn\n\tfi")
	c.line("\tif [[ $words[2] == -* ]]; then\n\t\t_arguments $settings\n\t\treturn\n\tfi")
	c.line("\tshift words\n\t((CURRENT--))\n\tcase $words[1] in")
	for _, name := range commandNames() {
		cmd := all[name]
		var specs []string
		for _, d := range cmd.flagDocs() {
			specs = append(specs, d.zsh())
		}
		if !cmd.bare {
			specs = append(specs, "$settings")
		} else {
			specs = append(specs, "'--help[show help]'")
		}
		if cmd.choices != nil {
			specs = append(specs, zshQuote("1:"+zshPlain(cmd.operands)+":("+strings.Join(cmd.choices, " ")+")"))
		}
		c.line("\t%s) _arguments %s ;;", name, strings.Join(specs, " "))
	}
	c.line("\tesac\n}\n\nif [[ $funcstack[1] == _micelio-node ]]; then\n\t_micelio-node \"$@\"\nelse\n\tcompdef _micelio-node micelio-node\nfi")
}

// zsh returns the flag as _arguments of zsh reads it.
func (d flagDoc) zsh() string {
	spec := "--" + d.name
	if d.repeated {
		spec = "*" + spec
	}
	if d.isSwitch() {
		return zshQuote(spec + "[" + zshPlain(d.help) + "]")
	}
	action := ""
	switch {
	case d.choices != nil:
		var words []string
		for _, w := range d.choices {
			words = append(words, zshPlain(w))
		}
		action = "(" + strings.Join(words, " ") + ")"
	case d.arg == fileArg:
		action = "_files"
	case d.arg == dirArg:
		action = "_files -/"
	}
	return zshQuote(spec + "=[" + zshPlain(d.help) + "]:" + zshPlain(d.arg) + ":" + action)
}

// zshPlain protects what has a meaning in a specification.
func zshPlain(text string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(text)
}

func zshQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// fish writes the script for fish.
func (c *completer) fish() {
	const program = "complete -c micelio-node"
	var bare []string
	all := commands()
	for _, name := range commandNames() {
		if all[name].bare {
			bare = append(bare, name)
		}
	}
	c.line("# Completion of micelio-node for fish, printed by \"micelio-node completion fish\".\n")
	c.line("function __micelio_node_has_settings\n    not __fish_seen_subcommand_from %s\nend\n", strings.Join(bare, " "))
	c.line("%s -f\n%s -l help -d 'show help'", program, program)
	for _, name := range commandNames() {
		cmd := all[name]
		c.line("%s -n __fish_use_subcommand -a %s -d %s", program, name, fishQuote(cmd.summary))
		for _, d := range cmd.flagDocs() {
			c.line("%s -n '__fish_seen_subcommand_from %s' %s", program, name, d.fish())
		}
		if cmd.choices != nil {
			c.line("%s -n '__fish_seen_subcommand_from %s' -a '%s'", program, name, strings.Join(cmd.choices, " "))
		}
	}
	for _, d := range flagDocs() {
		c.line("%s -n __micelio_node_has_settings %s", program, d.fish())
	}
}

// fish returns the flag as arguments of complete.
func (d flagDoc) fish() string {
	spec := "-l " + d.name
	switch {
	case d.isSwitch():
	case d.choices != nil:
		spec += " -x -a '" + strings.Join(d.choices, " ") + "'"
	case d.arg == fileArg:
		spec += " -r -F"
	case d.arg == dirArg:
		spec += " -x -a '(__fish_complete_directories)'"
	default:
		spec += " -x"
	}
	return spec + " -d " + fishQuote(d.help)
}

func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
