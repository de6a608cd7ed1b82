package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// doctor runs it for envelope mode.
func (w *sealed) doctor(code int, flags ...string) diagnosis {
	w.t.Helper()
	got := w.run(append([]string{"doctor", "--json", "s3://demo/p", "--envelope-key-id=" + sandbox.KeyAlias}, flags...)...)
	var d diagnosis
	if err := json.Unmarshal([]byte(got.out), &d); err != nil || got.code != code {
		w.t.Fatalf("exit %d, want %d; %v: %s%s", got.code, code, err, got.out, got.err)
	}
	return d
}

// find returns the check of that name.
func (d diagnosis) find(name string) check {
	i := slices.IndexFunc(d.Checks, func(c check) bool { return c.Name == name })
	if i < 0 {
		return check{}
	}
	return d.Checks[i]
}

// granted returns the KMS actions on each key that a policy names.
func granted(p *iamPolicy) map[string][]string {
	all := map[string][]string{}
	for _, s := range p.Statement {
		for _, action := range s.Action {
			if strings.HasPrefix(action, "kms:") && action != "kms:DescribeKey" {
				all[s.Resource] = append(all[s.Resource], action)
			}
		}
	}
	return all
}

func TestDoctorOfEnvelopeMode(t *testing.T) {
	w := newSealed(t)
	const generate, decrypt, encrypt = "kms:GenerateDataKey", "kms:Decrypt", "kms:Encrypt"
	for _, test := range []struct {
		flags []string
		want  map[string][]string
	}{
		{nil, map[string][]string{w.key: {generate, decrypt}}},
		{[]string{"--write-only"}, map[string][]string{w.key: {generate}}},
		{[]string{"--read-only"}, map[string][]string{w.key: {decrypt}}},
		{[]string{"--envelope-key-id=" + w.other}, map[string][]string{w.key: {generate, decrypt}, w.other: {encrypt, decrypt}}},
		{[]string{"--allow-key-id=" + w.other}, map[string][]string{w.key: {generate, decrypt}, w.other: {decrypt}}},
	} {
		d := w.doctor(exitOK, test.flags...)
		if diff := cmp.Diff(test.want, granted(d.IAMPolicy)); diff != "" {
			t.Errorf("%q: actions (-want +got):\n%s", test.flags, diff)
		}
		if c := d.find("envelope key"); c.State != stateOK || !strings.Contains(c.Detail, w.key) {
			t.Errorf("%q: %+v", test.flags, c)
		}
		for _, s := range d.KeyPolicy.Statement {
			if s.Resource != "*" || s.Principal == nil || len(s.Condition) == 0 && s.Action[0] != "kms:DescribeKey" {
				t.Errorf("%q: key policy: %+v", test.flags, s)
			}
		}
	}
	both := w.doctor(exitOK, "--sse-kms-key-id="+w.other)
	if diff := cmp.Diff(map[string][]string{w.key: {generate, decrypt}, w.other: {decrypt, generate}}, granted(both.IAMPolicy)); diff != "" {
		t.Errorf("with SSE-KMS: %s", diff)
	}
}

func TestDoctorNamesTheMissingAction(t *testing.T) {
	w := newSealed(t)
	two := "--envelope-key-id=" + sandbox.OtherAlias
	for _, test := range []struct {
		action string
		flags  []string
		fails  bool
	}{
		{"kms:GenerateDataKey", nil, true},
		{"kms:Decrypt", nil, true},
		{"kms:Decrypt", []string{"--write-only"}, false},
		{"kms:Encrypt", []string{two}, true},
		{"kms:Encrypt", nil, false},
	} {
		undo := w.server.Denials.Add(wire.Denial{Action: test.action})
		code := map[bool]int{true: exitFailure, false: exitOK}[test.fails]
		c := w.doctor(code, test.flags...).find("envelope key")
		undo()
		if failed := c.State == stateFail; failed != test.fails || failed && (!strings.Contains(c.Detail+c.Remedy, test.action) || c.Remedy == "") {
			t.Errorf("without %s, %q: %+v", test.action, test.flags, c)
		}
	}
	if err := w.server.KMS.Disable(w.key); err != nil {
		t.Fatal(err)
	}
	if c := w.doctor(exitFailure).find("bucket, region, key"); c.State != stateFail || !strings.Contains(c.Detail, "disabled") {
		t.Errorf("disabled: %+v", c)
	}
}

func TestMemoryCheck(t *testing.T) {
	refuse := func(int) error { return errors.New("no") }
	for _, test := range []struct {
		lock     func(int) error
		required bool
		want     string
	}{
		{lockMemory, true, stateOK}, {refuse, false, stateWarn}, {refuse, true, stateFail},
	} {
		if c := memoryCheck(test.lock, test.required); c.State != test.want || c.State != stateOK && !strings.Contains(c.Remedy, "LimitMEMLOCK") {
			t.Errorf("%+v, want %s", c, test.want)
		}
	}
}
