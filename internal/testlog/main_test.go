package main

import (
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	const (
		pass   = `{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}` + "\n" + `{"Action":"pass","Package":"p","Test":"TestA","Elapsed":2}` + "\n"
		closed = `{"Action":"output","Package":"p","Output":"ok  \tp\t2.1s\n"}` + "\n" + `{"Action":"pass","Package":"p"}` + "\n"
		skip   = `{"Action":"output","Package":"p","Test":"TestB","Output":"no tool\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"TestB"}` + "\n"
		fail   = `{"Action":"output","Package":"p","Test":"TestC","Output":"loud\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestC"}` + "\n"
		broken = `{"Action":"output","Package":"p","Test":"TestD","Output":"panic\n"}` + "\n" + `{"Action":"fail","Package":"p"}` + "\n"
		empty  = `{"Action":"output","Package":"q","Output":"?   \tq\t[no test files]\n"}` + "\n" + `{"Action":"skip","Package":"q"}` + "\n"
		build  = `{"ImportPath":"p","Action":"build-output","Output":"x.go:1: syntax\n"}` + "\n" + `{"Action":"fail","Package":"p","FailedBuild":"p"}` + "\n"
	)
	cases := map[string]struct {
		in    string
		ok    bool
		shows []string
		hides []string
	}{
		"all well":         {pass + closed + empty, true, []string{"ok  \tp", "1 passed, 0 failed", "slow:    2.0s p TestA"}, []string{"quiet", "no test files"}},
		"a skip":           {pass + skip, false, []string{"no tool", "counts as a failure: p TestB", "1 passed, 1 failed"}, nil},
		"a failure":        {pass + fail, false, []string{"loud", "failed: p TestC"}, []string{"quiet"}},
		"an aborted test":  {pass + broken, false, []string{"panic"}, nil},
		"a build failure":  {pass + build, false, []string{"x.go:1: syntax"}, nil},
		"no test at all":   {empty, false, []string{"0 passed"}, nil},
		"nothing":          {"", false, nil, nil},
		"go's own words":   {pass + "go: no such tool\n", true, []string{"go: no such tool"}, nil},
		"no closing quote": {pass + `{"Action":"`, true, []string{`{"Action":"`}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			l := &log{out: &out, output: map[string][]string{}}
			if err := l.read(strings.NewReader(c.in)); err != nil {
				t.Fatal(err)
			}
			if ok := l.summarise(); ok != c.ok {
				t.Errorf("all is well: %v", ok)
			}
			for _, s := range c.shows {
				if !strings.Contains(out.String(), s) {
					t.Errorf("%q is not shown:\n%s", s, out.String())
				}
			}
			for _, s := range c.hides {
				if strings.Contains(out.String(), s) {
					t.Errorf("%q is shown:\n%s", s, out.String())
				}
			}
		})
	}
}
