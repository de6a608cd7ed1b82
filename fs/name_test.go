package fs

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// pieces are what makes names interesting; random strings hardly hit them.
var pieces = []string{"a", ".", "..", quote, odd, shadow, ":", "%", "%2E", "FF", "80", "E2", "9B", "\xff", "\x80", "\xe2", "\x9b", "ü", "\x00", " ", "x"}

func drawOdd(t *rapid.T, label string) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12).Draw(t, label), "")
}

func TestEveryComponentThatIsShownIsFoundAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		component := drawOdd(t, "component")
		if rapid.Bool().Draw(t, "any") {
			component = rapid.String().Draw(t, "text")
		}
		name, ok := nameOf(component)
		if !ok {
			if utf8.ValidString(component) && !strings.Contains(component, "/") && len(component) < 60 {
				t.Fatalf("%q is not shown", component)
			}
			return
		}
		checkName(t, name)
		if got, hidden, ok := componentOf(name); got != component || hidden || !ok {
			t.Fatalf("%q is shown as %q, which stands for %q (hidden %v, ok %v)", component, name, got, hidden, ok)
		}
		if below, ok := shadowOf(component); ok {
			checkName(t, below)
			if got, hidden, ok := componentOf(below); got != component || !hidden || !ok {
				t.Fatalf("hidden %q is shown as %q, which stands for %q (hidden %v, ok %v)", component, below, got, hidden, ok)
			}
		}
	})
}

func TestEveryNameIsAValidKeyAndComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := drawOdd(t, "name")
		if name == "" || name == "." || name == ".." || strings.Contains(name, "\x00") {
			return
		}
		component, hidden, ok := componentOf(name)
		if !ok {
			if !strings.Contains(name, quote) {
				t.Fatalf("ordinary name %q is refused", name)
			}
			return
		}
		if !utf8.ValidString(component) {
			t.Fatalf("%q stands for %q, which cannot be in a key", name, component)
		}
		back, shown := nameOf(component)
		if hidden {
			back, shown = shadowOf(component)
		}
		if shown && back != name {
			t.Fatalf("%q stands for %q, which is shown as %q", name, component, back)
		}
	})
}

func checkName(t *rapid.T, name string) {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || len(name) > nameMax {
		t.Fatalf("%q is no name", name)
	}
}

func TestNamesStayThemselves(t *testing.T) {
	for _, name := range []string{"a", ".a", "...", "a b", "ü", "a%2Eb", "\U0001f600", quote, quote + "x", "x" + quote + "41"} {
		component, hidden, ok := componentOf(name)
		if component != name || hidden || !ok {
			t.Errorf("%q became %q", name, component)
		}
	}
	for component, want := range map[string]string{
		"": odd, ".": odd + "%2E", "..": odd + "%2E%2E", "a\x00": odd + "a%00",
		quote + "FF": "\xff", "x" + shadow: odd + "x%E2%80%9Bobject",
	} {
		if got, ok := nameOf(component); got != want || !ok {
			t.Errorf("%q is shown as %q, want %q", component, got, want)
		}
	}
	if _, ok := nameOf(strings.Repeat("x", 256)); ok {
		t.Error("a component of 256 bytes is shown")
	}
	for _, name := range []string{shadow, odd + "zz%", odd + "abc"} {
		if c, _, ok := componentOf(name); ok && c == "" {
			t.Errorf("%q stands for the directory's own key", name)
		}
	}
}
