package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// usageOrConfig fails unless reading settings ended in a configuration that
// keeps what it promises, or in an error of usage.
func usageOrConfig(t *testing.T, in inputs) {
	t.Helper()
	c, err := readConfig(in)
	var usage *usageError
	if err != nil {
		if !errors.As(err, &usage) {
			t.Errorf("%v is no error of usage", err)
		}
		return
	}
	if c.s3.Envelope == nil && (c.s3.Policy.Mode == "" || c.s3.Policy.Mode == "none") {
		t.Errorf("nothing would encrypt: %+v", c.s3.Policy)
	}
	if c.s3.Memory < minMemory || c.s3.SpoolSize < 0 || c.run.timeout < minTimeout || c.tree.fileMode > 0o777 || c.tree.dirMode > 0o777 {
		t.Errorf("out of bounds: %+v", c)
	}
}

// FuzzOptions: any text after -o, as fstab has it, is settings or an error.
func FuzzOptions(f *testing.F) {
	for _, seed := range []string{
		"_netdev,nofail,allow_other,sse_kms_key_id=alias/backup", "ro,rw,noexec,exec,x-y=z,encryption_context=a=b\\,c",
		"memory=9223372036854775808,timeout=1e9s", "sse=none", "envelope_key_id=k,sse=none,context_scope=object", "file_mode=07777,umask=-1",
		"part-size=5GiB,spool-size=5MiB", "=,\\,,,==", "timeout=9223372036s,drain_timeout=-1s", "config=/nonexistent", "insecure_http,endpoint_url=http://\x1b[2J",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		settings, noExec, err := splitMountOptions(parseOptions(text))
		if err != nil || strings.Contains(text, "config") { // which reads files
			return
		}
		usageOrConfig(t, inputs{options: settings, noExec: noExec, args: map[string][]string{"source": {"s3://b"}, "dir": {"/mnt"}}})
	})
}

// FuzzConfigFile: any configuration file is settings or an error.
func FuzzConfigFile(f *testing.F) {
	for _, seed := range []string{
		"source = \"s3://b/p\"\ndir = \"/mnt\"\nsse-kms-key-id = \"alias/k\"\n[encryption-context]\na = \"b\"\n",
		"file-mode = 0o644", "memory = 64", "memory = [\"1\"]", "allow-key-id = [\"a\", 1]", "x = 1979-05-27T07:32:00Z", "config = \"x\"", "a.b.c = {}", "\x00",
		"timeout = \"90s\"\ntimeout = \"90s\"", "memory = inf", "encryption-context = [\"a=b\", \"a=c\"]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := fromTOML("file", text)
		if err != nil {
			return
		}
		for name, v := range values {
			s, ok := lookup(name)
			if !ok || len(v.texts) == 0 && !s.list {
				t.Errorf("%q is read as %+v", name, v)
			}
			if !ok {
				continue
			}
			var c config
			c.run.logLevel = new(slog.LevelVar)
			for _, text := range v.texts {
				_ = s.set(&c, text)
			}
		}
	})
}

// FuzzSource: what s3:// URLs name is one bucket and a prefix below it.
func FuzzSource(f *testing.F) {
	for _, seed := range []string{
		"s3://b", "s3://b/p/q/", "s3://b//", "s3://arn:aws:s3:eu-west-1:1:accesspoint/x/p", "s3://arn:", "s3:///x", "S3://b", "s3://b@evil.example/x", "s3://b?x#y",
		"s3://../..", "s3://b/\x00\x1b[2J",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, url string) {
		s, err := parseSource(url)
		if err != nil {
			return
		}
		if p := s.prefix(); p != "" && !strings.HasSuffix(p, "/") || !strings.HasPrefix(p, s.key) {
			t.Errorf("the prefix of %q is %q", url, p)
		}
		again, err := parseSource(s.String())
		if err != nil || again != s {
			t.Errorf("%q is %+v, and then %+v (%v)", url, s, again, err)
		}
	})
}

// FuzzValues: any text is a value of a setting, or an error.
func FuzzValues(f *testing.F) {
	for _, seed := range []string{"", "1", "on", "auto", "64MiB", "1e400MiB", "-1", "90s", "9999999h", "0644", "0o", "a=b", "=", "\x1b", "18446744073709551615", "NaN", "0x1p-2", "s3://b"} {
		f.Add(seed)
	}
	all := settings()
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range all {
			var c config
			c.run.logLevel = new(slog.LevelVar)
			if err := s.set(&c, text); err == nil && (c.s3.Memory < 0 || c.s3.PartSize < 0 || c.s3.SpoolSize < 0 || c.s3.MaxConnections < 0 || c.tree.attrTTL < 0) {
				t.Errorf("%s takes %q for %+v", s.name, text, c)
			}
		}
	})
}
