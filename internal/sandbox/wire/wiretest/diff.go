package wiretest

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Diff returns how the structure of got differs from want; both are JSON or XML documents, or empty.
//
// Objects must have the same fields, arrays elements like want's at the same place or else its first, and values the
// same type. Of strings, those that look like enumerations or error codes must be equal; ARNs must have the same service
// and kind of resource; identifiers and base64 must be such. Any other string stands for any string that is not empty.
func Diff(want, got string) []string {
	want, got = strings.TrimSpace(want), strings.TrimSpace(got)
	if want == "" || got == "" {
		if want != got {
			return []string{fmt.Sprintf("body is %q, documented %q", got, want)}
		}
		return nil
	}
	parse := parseJSON
	if strings.HasPrefix(want, "<") {
		parse = parseXML
	}
	w, err := parse(want)
	if err != nil {
		return []string{fmt.Sprintf("documented body: %v", err)}
	}
	g, err := parse(got)
	if err != nil {
		return []string{fmt.Sprintf("body %q: %v", got, err)}
	}
	return diff("", w, g)
}

func parseJSON(text string) (v any, err error) {
	err = json.Unmarshal([]byte(text), &v)
	return v, err
}

// parseXML turns a document into what JSON would give: elements into objects of arrays, as any may repeat.
func parseXML(text string) (any, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	root, err := parseElements(d)
	if err == io.EOF {
		err = nil
	}
	return root, err
}

// parseElements reads up to the end of the element that d is in, or of the document.
func parseElements(d *xml.Decoder) (any, error) {
	fields, text := map[string]any{}, ""
	for {
		token, err := d.Token()
		if err != nil {
			return fields, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			value, err := parseElements(d)
			if err != nil {
				return nil, err
			}
			name := token.Name.Local
			old, _ := fields[name].([]any)
			fields[name] = append(old, value)
		case xml.CharData:
			text += string(token)
		case xml.EndElement:
			if len(fields) == 0 {
				return strings.TrimSpace(text), nil
			}
			return fields, nil
		}
	}
}

func diff(path string, want, got any) (all []string) {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: not an object", path)}
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if _, ok := got[name]; !ok {
				all = append(all, fmt.Sprintf("%s.%s: documented, but missing", path, name))
				continue
			}
			all = append(all, diff(path+"."+name, want[name], got[name])...)
		}
		for _, name := range slices.Sorted(maps.Keys(got)) {
			if _, ok := want[name]; !ok {
				all = append(all, fmt.Sprintf("%s.%s: not documented", path, name))
			}
		}
	case []any:
		got, ok := got.([]any)
		switch {
		case !ok:
			return []string{fmt.Sprintf("%s: not an array", path)}
		case len(want) > 0 && len(got) == 0:
			return []string{fmt.Sprintf("%s: empty", path)}
		case len(want) > 0:
			for i, g := range got {
				w := want[0]
				if i < len(want) { // such as a list of algorithms
					w = want[i]
				}
				all = append(all, diff(fmt.Sprintf("%s[%d]", path, i), w, g)...)
			}
		}
	case string:
		got, ok := got.(string)
		if !ok {
			return []string{fmt.Sprintf("%s: not a string", path)}
		}
		for _, d := range diffString(want, got) {
			all = append(all, path+": "+d)
		}
	default:
		if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
			return []string{fmt.Sprintf("%s: %T, documented %T", path, got, want)}
		}
		if b, ok := want.(bool); ok && b != got.(bool) {
			return []string{fmt.Sprintf("%s: %v, documented %v", path, got, want)}
		}
	}
	return all
}

var (
	// Error codes, states and specs are one word with a capital or in capitals; an answer's text has spaces.
	enum = regexp.MustCompile(`^[A-Z][A-Za-z]*[a-z][A-Za-z]*$|^[A-Z][A-Z0-9_]+$|^(aws:kms|aws:kms:dsse|AES256|true|false|application/[-a-z0-9.]+)$`)
	arn  = regexp.MustCompile(`^arn:aws:([a-z0-9-]*):([a-z0-9-]*):(\d*):([a-z]*)[:/]?`)
	uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$|^mrk-[0-9a-f]{32}$`)
	hash = regexp.MustCompile(`^[0-9a-f]{64}$`)
	// Shorter words may be anything.
	blob = regexp.MustCompile(`^[A-Za-z0-9+/]{40,}={0,2}$`)
)

func diffString(want, got string) []string {
	bad := func(what string) []string {
		return []string{fmt.Sprintf("%q, documented %s such as %q", got, what, want)}
	}
	switch {
	case enum.MatchString(want):
		if got != want {
			return bad("exactly")
		}
	case arn.MatchString(want):
		w, g := arn.FindStringSubmatch(want), arn.FindStringSubmatch(got)
		if g == nil || g[1] != w[1] || g[4] != w[4] || (g[2] == "") != (w[2] == "") || (g[3] == "") != (w[3] == "") {
			return bad("an ARN")
		}
	case uuid.MatchString(want):
		if !uuid.MatchString(got) {
			return bad("an identifier")
		}
	case hash.MatchString(want):
		if !hash.MatchString(got) {
			return bad("64 hexadecimal digits")
		}
	case blob.MatchString(want):
		if _, err := base64.StdEncoding.DecodeString(got); err != nil || got == "" {
			return bad("base64")
		}
	case got == "" && want != "":
		return bad("a string")
	}
	return nil
}
