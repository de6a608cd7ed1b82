package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHelperArguments(t *testing.T) {
	for _, test := range []struct {
		args, want []string // want is nil where the arguments are wrong
	}{
		{[]string{"s3://b/p", "/mnt"}, []string{"mount", "--", "s3://b/p", "/mnt"}},
		{[]string{"s3://b", "/mnt", "-o", "rw,allow_other"}, []string{"mount", "-o", "rw,allow_other", "--", "s3://b", "/mnt"}},
		{[]string{"s3://b", "/mnt", "-sfnv", "-oro"}, []string{"mount", "--sloppy", "--fake", "-o", "ro", "--", "s3://b", "/mnt"}},
		{[]string{"-n", "s3://b", "/mnt", "-t", "kmsfs.x", "-v"}, []string{"mount", "--", "s3://b", "/mnt"}},
		{[]string{"s3://b", "/mnt", "-no", "ro"}, []string{"mount", "-o", "ro", "--", "s3://b", "/mnt"}},
		{[]string{"s3://b"}, nil},
		{[]string{"s3://b", "/mnt", "/more"}, nil},
		{[]string{"s3://b", "/mnt", "-o"}, nil},
		{[]string{"s3://b", "/mnt", "-z"}, nil},
		{[]string{"s3://b", "/mnt", "--memory=1GiB"}, nil},
		{[]string{"s3://b", "/mnt", "-N", "/proc/1/ns/mnt"}, nil},
	} {
		got, err := helperArgs(test.args)
		if (err != nil) != (test.want == nil) {
			t.Errorf("%q: error %v", test.args, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q:\n%s", test.args, diff)
		}
	}
}

func TestWordsOfMountAreNoSettings(t *testing.T) {
	words := "rw,defaults,_netdev,nofail,user,noauto,x-systemd.automount,x-systemd.requires=network-online.target,X-mount.mkdir=0755,comment=a,dev,suid,exec,noatime"
	rest, noExec, err := splitMountOptions(parseOptions(words + ",region=r,,path_style"))
	if err != nil || noExec {
		t.Fatalf("noexec %v, error %v", noExec, err)
	}
	want := []option{{name: "region", text: "r", hasText: true}, {name: "path_style"}}
	if diff := cmp.Diff(want, rest, cmp.AllowUnexported(option{})); diff != "" {
		t.Error(diff)
	}
}

func TestLaterWordsOfMountWin(t *testing.T) {
	for words, want := range map[string][2]bool{ // read-only, noexec
		"ro": {true, false}, "rw": {}, "ro,rw": {}, "rw,ro": {true, false}, "read_only": {true, false}, "ro,read-only": {true, false},
		"noexec": {false, true}, "noexec,exec": {}, "exec,noexec,ro": {true, true},
	} {
		c, err := given{options: words}.read(t)
		if err != nil {
			t.Errorf("%s: %v", words, err)
			continue
		}
		if got := [2]bool{c.s3.ReadOnly, c.tree.noExec}; got != want {
			t.Errorf("%s: %v, want %v", words, got, want)
		}
	}
}

func TestSplitEscaped(t *testing.T) {
	for list, want := range map[string][]string{
		"": {""}, "a": {"a"}, "a,b": {"a", "b"}, `a\,b,c`: {"a,b", "c"}, `a\b`: {`a\b`}, `a\`: {`a\`}, "a,": {"a", ""},
	} {
		if got := splitEscaped(list); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}
