package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"
)

// inputs are the places where settings can be given, strongest first.
type inputs struct {
	args    map[string][]string // arguments: source, dir
	flags   *pflag.FlagSet      // made by addFlags; nil for none
	options []option            // after -o
	env     []string            // of the process: NAME=VALUE
	noExec  bool                // noexec was among the words of mount(8)
	loose   bool                // for a command that mounts nothing: settings need not make sense together
}

// value is what one setting was given in its strongest place.
type value struct {
	from  string // the place, for messages: "--memory", "KMSFS_MEMORY", ...
	texts []string
}

// envPrefix begins the variables that give settings. Those for tests are not
// settings: they name the account that the test suite may use.
const (
	envPrefix     = "KMSFS_"
	envTestPrefix = "KMSFS_TEST_"
)

// canonical returns the flag's spelling of a name that may have underscores.
func canonical(name string) string {
	return strings.ReplaceAll(name, "_", "-")
}

// resolve returns each given setting by the precedence flag, option, variable,
// file. A name that is no setting is an error in each of these places.
func (in inputs) resolve() (map[string]value, error) {
	values := map[string]value{}
	for name, texts := range in.args {
		values[name] = value{from: "argument", texts: texts}
	}
	if in.flags != nil {
		in.flags.Visit(func(f *pflag.Flag) {
			if g, ok := f.Value.(*flagValue); ok {
				values[f.Name] = value{from: "--" + f.Name, texts: g.texts}
			}
		})
	}
	for _, layer := range []func() (map[string]value, error){in.fromOptions, in.fromEnv} {
		if err := fill(values, layer); err != nil {
			return nil, err
		}
	}
	if file, ok := values["config"]; ok {
		if file.texts[0] == "" {
			return nil, fmt.Errorf("%s: names no file; give its path", file.from)
		}
		if err := fill(values, func() (map[string]value, error) { return fromFile(file.texts[0]) }); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// fill adds those values of a weaker layer that are not there yet.
func fill(values map[string]value, layer func() (map[string]value, error)) error {
	weaker, err := layer()
	if err != nil {
		return err
	}
	for name, v := range weaker {
		if _, ok := values[name]; !ok {
			values[name] = v
		}
	}
	return nil
}

// add appends a text to a setting of one layer; only lists take several.
func add(values map[string]value, s setting, from, text string) error {
	v, again := values[s.name]
	if again && !s.list {
		return fmt.Errorf("%s is given twice; give it once", from)
	}
	values[s.name] = value{from: from, texts: append(v.texts, text)}
	return nil
}

// fromOptions returns what was given after -o.
func (in inputs) fromOptions() (map[string]value, error) {
	values := map[string]value{}
	for _, o := range in.options {
		s, ok := lookup(o.name)
		if !ok || s.group == arguments {
			return nil, fmt.Errorf("-o %s: unknown option; kmsfs mount --help lists all", o.name)
		}
		text := o.text
		if !o.hasText {
			if s.bare == "" {
				return nil, fmt.Errorf("-o %s: needs a value; write it as %s=%s", o.name, o.name, s.arg)
			}
			text = s.bare
		}
		if err := add(values, s, "-o "+o.name, text); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// fromEnv returns what KMSFS_* variables say. Lists are separated by commas.
func (in inputs) fromEnv() (map[string]value, error) {
	values := map[string]value{}
	for _, e := range in.env {
		variable, text, _ := strings.Cut(e, "=")
		name, ok := strings.CutPrefix(variable, envPrefix)
		if !ok || strings.HasPrefix(variable, envTestPrefix) {
			continue
		}
		s, ok := lookup(strings.ToLower(name))
		if !ok {
			return nil, fmt.Errorf("variable %s: there is no such setting; kmsfs mount --help lists all", variable)
		}
		texts := []string{text}
		if s.list {
			texts = splitEscaped(text)
		}
		values[s.name] = value{from: "variable " + variable, texts: texts}
	}
	return values, nil
}

// fromFile returns what a TOML file says.
func fromFile(name string) (map[string]value, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the configuration file %s: %w", name, err)
	}
	return fromTOML(name, string(text))
}

// fromTOML returns what the text of the file name says.
func fromTOML(name, text string) (map[string]value, error) {
	var raw map[string]any
	if _, err := toml.Decode(text, &raw); err != nil {
		return nil, fmt.Errorf("read the configuration file %s: %w", name, err)
	}
	values := map[string]value{}
	for key, v := range raw {
		from := fmt.Sprintf("%s in %s", key, name)
		s, ok := lookup(key)
		if !ok || s.name == "config" {
			return nil, fmt.Errorf("%s: there is no such setting; kmsfs mount --help lists all", from)
		}
		texts, err := tomlTexts(s, v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
		for _, text := range texts {
			if err := add(values, s, from, text); err != nil {
				return nil, err
			}
		}
	}
	return values, nil
}

// tomlTexts returns a TOML value in the spelling of the command line.
func tomlTexts(s setting, v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case int64, bool:
		if _, number := v.(int64); number && s.octal {
			return nil, errors.New(`write the mode as a string, such as "0644"`)
		}
		return []string{fmt.Sprint(v)}, nil
	case []any:
		var texts []string
		for _, item := range v {
			text, ok := item.(string)
			if !ok || !s.list {
				return nil, errors.New("takes no such list; write strings, and a list only where a flag is repeatable")
			}
			texts = append(texts, text)
		}
		return texts, nil
	case map[string]any:
		var texts []string
		for k, item := range v {
			text, ok := item.(string)
			if !ok || !s.list {
				return nil, errors.New("takes no such table; write KEY = \"VALUE\" pairs, and only for encryption-context")
			}
			texts = append(texts, k+"="+text)
		}
		slices.Sort(texts)
		return texts, nil
	}
	return nil, fmt.Errorf("a value of this type (%T) is not understood; write it as a string", v)
}

// option is one of the comma-separated words after -o.
type option struct {
	name, text string
	hasText    bool
}

// parseOptions takes the argument of -o apart. A backslash keeps a comma.
func parseOptions(list string) []option {
	var options []option
	for _, word := range splitEscaped(list) {
		if word == "" {
			continue
		}
		name, text, hasText := strings.Cut(word, "=")
		options = append(options, option{name: name, text: text, hasText: hasText})
	}
	return options
}

// splitEscaped splits at commas that no backslash precedes, and removes that
// backslash; all others stay.
func splitEscaped(list string) []string {
	var words []string
	var word strings.Builder
	for i := 0; i < len(list); i++ {
		switch {
		case list[i] == '\\' && i+1 < len(list) && list[i+1] == ',':
			i++
			word.WriteByte(',')
		case list[i] == ',':
			words = append(words, word.String())
			word.Reset()
		default:
			word.WriteByte(list[i])
		}
	}
	return append(words, word.String())
}

// flagValue keeps what a flag was given, to be parsed with all other places.
type flagValue struct {
	s     setting
	texts []string
}

// String returns what was given; pflag wants it for its defaults.
func (f *flagValue) String() string { return strings.Join(f.texts, ",") }

// Type returns the word that --help shows for the value; a switch shows none.
func (f *flagValue) Type() string {
	if f.s.arg == "" {
		return "bool"
	}
	return f.s.arg
}

// Set keeps one more value.
func (f *flagValue) Set(text string) error {
	if len(f.texts) > 0 && !f.s.list {
		return errors.New("given twice; give it once")
	}
	f.texts = append(f.texts, text)
	return nil
}

// addFlags defines the flags of the given groups.
func addFlags(flags *pflag.FlagSet, wanted ...group) {
	flags.SortFlags = false
	for _, s := range settings() {
		if slices.Contains(wanted, s.group) {
			s.define(flags)
		}
	}
}

// addFlag defines the flag of one setting.
func addFlag(flags *pflag.FlagSet, name string) {
	if s, ok := lookup(name); ok {
		s.define(flags)
	}
}

// define defines the flag of s.
func (s setting) define(flags *pflag.FlagSet) {
	help := s.help
	if s.def != "" {
		help += " (default " + s.def + ")"
	}
	f := flags.VarPF(&flagValue{s: s}, s.name, "", help)
	f.NoOptDefVal = s.bare
	f.Annotations = map[string][]string{groupAnnotation: {string(s.group)}}
}

// groupAnnotation tells the help template under which heading a flag belongs.
const groupAnnotation = "kmsfs-group"
