package fs

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A name is what a directory shows, a component is what stands between two
// slashes of a key. They are equal but for three kinds, marked by a quote that
// nobody types (U+201B):
//
//   - bytes of a name that are not valid UTF-8 cannot be in a key:
//     \xff is the component ‛FF.
//   - components that cannot be names (empty, ".", "..", with a NUL, or such
//     that look like one of these marks) are names after ‛: in percent form:
//     "a//b" is a/‛:/b.
//   - an object that has the name of a directory is shown with the ending
//     ‛object.
//
// Both directions are functions of the one string, and each undoes the other.
const (
	quote  = "\u201b"
	odd    = quote + ":"      // begins names of components that cannot be names
	shadow = quote + "object" // ends names of objects that a directory hides
)

// nameMax is NAME_MAX of Linux and macOS, in bytes.
const nameMax = 255

// reservedName is the directory under the mount's prefix that is ours.
const reservedName = ".kmsfs"

// nameOf returns the name that shows a component, false where none can (it
// would be longer than 255 bytes, or the component is not valid UTF-8).
func nameOf(component string) (string, bool) {
	if !utf8.ValidString(component) || strings.Contains(component, "/") {
		return "", false
	}
	name := odd + percent(component)
	if plain(component) {
		name = unquote(component)
	}
	return name, len(name) <= nameMax
}

// shadowOf returns the name of an object that the directory of the same
// component hides, false where it would be too long.
func shadowOf(component string) (string, bool) {
	name, ok := nameOf(component)
	name += shadow
	return name, ok && len(name) <= nameMax
}

// componentOf returns the component that a name stands for, and whether the
// name is the one of a hidden object. It is false for the few names that
// nothing is shown under and nothing can be created under.
func componentOf(name string) (component string, hidden, ok bool) {
	component, hidden = strings.CutSuffix(name, shadow)
	escaped, marked := strings.CutPrefix(component, odd)
	if c, fine := unpercent(escaped); marked && fine && !plain(c) {
		component = c
	} else {
		component = quoteBytes(component)
	}
	back, ok := nameOf(component)
	if hidden {
		back, ok = shadowOf(component)
	}
	return component, hidden, ok && back == name
}

// plain reports whether a component can be shown as it is, but for quoted
// bytes: the way back must lead to the same component.
func plain(c string) bool {
	switch {
	case c == "" || c == "." || c == ".." || strings.ContainsRune(c, 0):
		return false
	case strings.HasSuffix(c, shadow) || strings.HasPrefix(c, odd):
		return false
	}
	name := unquote(c)
	switch {
	case name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return false
	case strings.HasSuffix(name, shadow) || strings.HasPrefix(name, odd):
		return false
	}
	return quoteBytes(name) == c
}

// quoteBytes makes any name valid UTF-8: bytes that are not, and quotes that
// would be read as such a mark, become ‛XX each.
func quoteBytes(name string) string {
	if utf8.ValidString(name) && !strings.Contains(name, quote) {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		_, mark := quotedByte(name[i:])
		if r == utf8.RuneError && n == 1 || mark {
			for _, c := range []byte(name[i : i+n]) {
				fmt.Fprintf(&b, "%s%02X", quote, c)
			}
		} else {
			b.WriteString(name[i : i+n])
		}
		i += n
	}
	return b.String()
}

// unquote undoes quoteBytes.
func unquote(c string) string {
	if !strings.Contains(c, quote) {
		return c
	}
	var b strings.Builder
	for i := 0; i < len(c); {
		if x, ok := quotedByte(c[i:]); ok {
			b.WriteByte(x)
			i += len(quote) + 2
			continue
		}
		b.WriteByte(c[i])
		i++
	}
	return b.String()
}

// quotedByte reads a mark ‛XX of a byte above ASCII at the start of s.
func quotedByte(s string) (byte, bool) {
	rest, ok := strings.CutPrefix(s, quote)
	if !ok || len(rest) < 2 || strings.ToUpper(rest[:2]) != rest[:2] {
		return 0, false
	}
	x, err := strconv.ParseUint(rest[:2], 16, 8)
	return byte(x), err == nil && x >= utf8.RuneSelf
}

// percent writes letters, digits and a few harmless signs as they are and every
// other byte as %XX. Dots become %2E, so that none is left to be special.
func percent(c string) string {
	var b strings.Builder
	for _, x := range []byte(c) {
		if x >= 'a' && x <= 'z' || x >= 'A' && x <= 'Z' || x >= '0' && x <= '9' || x == '-' || x == '_' {
			b.WriteByte(x)
		} else {
			fmt.Fprintf(&b, "%%%02X", x)
		}
	}
	return b.String()
}

func unpercent(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if len(s) < i+3 {
			return "", false
		}
		x, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(x))
		i += 2
	}
	return b.String(), true
}
