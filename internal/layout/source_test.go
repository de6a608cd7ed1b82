package layout

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Bounds of the house style. Tests may be longer by a table of their cases.
const (
	maxFileLines = 400
	maxFuncLines = 60
	maxTestLines = 90
)

// source is one parsed file; name is relative to the project's root.
type source struct {
	name string
	text []byte
	ast  *ast.File
	set  *token.FileSet
}

func (s source) test() bool { return strings.HasSuffix(s.name, "_test.go") }

// sources parses all Go files of the project.
func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var all []source
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != root && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata" || e.Name() == "bin"):
			return fs.SkipDir
		case e.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, source{filepath.ToSlash(name), text, file, set})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("found only %d Go files below %s", len(all), root)
	}
	return all
}

func TestFilesAreFormatted(t *testing.T) {
	for _, s := range sources(t) {
		if want, err := format.Source(s.text); err != nil || !bytes.Equal(want, s.text) {
			t.Errorf("%s: run gofmt (%v)", s.name, err)
		}
	}
}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if n := bytes.Count(s.text, []byte("\n")); n > maxFileLines {
			t.Errorf("%s has %d lines, %d at most", s.name, n, maxFileLines)
		}
		most := maxFuncLines
		if s.test() {
			most = maxTestLines
		}
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			from, to := s.set.Position(f.Pos()), s.set.Position(f.End())
			if n := to.Line - from.Line + 1; n > most {
				t.Errorf("%s: %s has %d lines, %d at most", from, f.Name.Name, n, most)
			}
		}
	}
}

// TestPackagesAreDescribed wants a doc.go with the package's comment, and no
// package comment elsewhere.
func TestPackagesAreDescribed(t *testing.T) {
	described := map[string]bool{}
	for _, s := range sources(t) {
		dir := filepath.Dir(s.name)
		described[dir] = described[dir] || filepath.Base(s.name) == "doc.go" && s.ast.Doc != nil
	}
	for dir, ok := range described {
		if !ok {
			t.Errorf("%s has no doc.go that describes the package", dir)
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		for _, d := range s.ast.Decls {
			for _, name := range undocumented(d) {
				t.Errorf("%s: %s has no comment", s.set.Position(name.Pos()), name.Name)
			}
		}
	}
}

// undocumented returns the exported names that d declares without a comment.
// Names declared together may share one.
func undocumented(d ast.Decl) (names []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if d.Doc == nil && spec.Doc == nil && spec.Name.IsExported() {
					names = append(names, spec.Name)
				}
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					if d.Doc == nil && spec.Doc == nil && spec.Comment == nil && name.IsExported() {
						names = append(names, name)
					}
				}
			}
		}
	}
	return names
}

// exportedReceiver reports whether f is a function, or a method of an exported
// type: methods of others serve an interface that documents them.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	typ := f.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// TestNothingIsPutOff refuses sleeps, skipped tests and unfinished work.
func TestNothingIsPutOff(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); ok {
				x, _ := f.X.(*ast.Ident)
				switch name := f.Sel.Name; {
				case name == "Sleep" && x != nil && x.Name == "time":
					t.Errorf("%s: wait for what happens, not for time to pass", s.set.Position(n.Pos()))
				case s.test() && (name == "Skip" || name == "Skipf" || name == "SkipNow"):
					t.Errorf("%s: a test that cannot run must fail", s.set.Position(n.Pos()))
				}
			}
			return true
		})
		for _, group := range s.ast.Comments {
			for _, word := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"} {
				if strings.Contains(group.Text(), word) {
					t.Errorf("%s: %s", s.set.Position(group.Pos()), word)
				}
			}
		}
	}
}
