package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/kmsfs/kmsfs/s3io"
)

// given is one way to give settings, as a user would.
type given struct {
	flags   []string
	options string
	env     []string
	file    string // content
}

// read parses g as kmsfs mount does.
func (g given) read(t *testing.T) (*config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	addFlags(flags, groups[:]...)
	args := g.flags
	if g.file != "" {
		name := filepath.Join(t.TempDir(), "kmsfs.toml")
		if err := os.WriteFile(name, []byte(g.file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config=" + name}, args...)
	}
	if err := flags.Parse(args); err != nil {
		return nil, &usageError{err}
	}
	in := inputs{flags: flags, env: g.env}
	var err error
	if in.options, in.noExec, err = splitMountOptions(parseOptions(g.options)); err != nil {
		return nil, &usageError{err}
	}
	return readConfig(in)
}

func TestPrecedence(t *testing.T) {
	all := given{
		flags:   []string{"--memory=64MiB"},
		options: "memory=96MiB,max_connections=3",
		env:     []string{"KMSFS_MEMORY=128MiB", "KMSFS_MAX_CONNECTIONS=4", "KMSFS_REGION=from-env", "KMSFS_TEST_AWS_KEY=x", "HOME=/"},
		file:    "memory = \"160MiB\"\nmax_connections = 5\nregion = \"from-file\"\nprofile = \"from-file\"\n",
	}
	c, err := all.read(t)
	if err != nil {
		t.Fatal(err)
	}
	type values struct {
		Memory          int64
		Connections     int
		Region, Profile string
		TTL             time.Duration
	}
	want := values{64 << 20, 3, "from-env", "from-file", time.Second}
	got := values{c.s3.Memory, c.s3.MaxConnections, c.s3.Region, c.s3.Profile, c.tree.attrTTL}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	all.flags = nil
	if c, err = all.read(t); err != nil || c.s3.Memory != 96<<20 {
		t.Errorf("without the flag: memory %d, error %v; want what -o says", c.s3.Memory, err)
	}
	all.options = ""
	if c, err = all.read(t); err != nil || c.s3.Memory != 128<<20 || c.s3.MaxConnections != 4 {
		t.Errorf("without -o: memory %d, error %v; want what the variable says", c.s3.Memory, err)
	}
	all.env = nil
	if c, err = all.read(t); err != nil || c.s3.Memory != 160<<20 || c.s3.MaxConnections != 5 {
		t.Errorf("without variables: memory %d, error %v; want what the file says", c.s3.Memory, err)
	}
}

// samples are a value for each setting other than its default. The test below
// demands one for every setting, so that none can be forgotten.
var samples = map[string]string{
	"sse": "aws:kms:dsse", "sse-kms-key-id": "alias/a", "bucket-key": "off", "encryption-context": "k=v",
	"envelope-key-id": "alias/e", "context-scope": "object", "context-bucket": "other", "accept-context-bucket": "copy",
	"write-only": "on", "splice": "off", "require-mlock": "on", "allow-key-id": "alias/old", "require-encryption": "warn", "foreign": "read-only",
	"key-cache-ttl": "1m", "kms-grace": "0", "key-cache": "off", "kms-grant-token": "token",
	"endpoint-url": "https://s3.example.com", "kms-endpoint-url": "https://kms.example.com", "region": "eu-central-1",
	"profile": "p", "path-style": "on", "ca-bundle": "/ca.pem", "insecure-http": "on", "request-payer": "on",
	"expected-bucket-owner": "111122223333", "storage-class": "STANDARD_IA",
	"read-only": "on", "allow-other": "on", "allow-root": "on", "uid": "7", "gid": "8", "file-mode": "0600", "dir-mode": "0700", "umask": "0022",
	"attr-ttl": "5s", "on-conflict": "overwrite", "strict-excl": "on", "posix-attrs": "off", "xattrs": "off",
	"memory": "64MiB", "spool-dir": "/spool", "spool-size": "1GiB", "state-dir": "/state", "salvage-dir": "/salvage", "max-connections": "5",
	"part-size": "8MiB", "read-ahead": "16MiB",
	"foreground": "on", "log-level": "debug", "log-format": "json", "log-file": "/log", "pid-file": "/pid",
	"timeout": "10s", "drain-timeout": "20s", "source": "s3://b/p", "dir": "/mnt",
}

// TestEverySettingWorksInEveryPlace gives each setting in each place, which
// must come to the same and differ from the default.
func TestEverySettingWorksInEveryPlace(t *testing.T) {
	opaque := cmp.Exporter(func(reflect.Type) bool { return true })
	for _, s := range settings() {
		text, ok := samples[s.name]
		if s.name == "config" {
			continue
		}
		if !ok {
			t.Errorf("%s has no sample", s.name)
			continue
		}
		under := strings.ReplaceAll(s.name, "-", "_")
		places := map[string]given{
			"variable": {env: []string{"KMSFS_" + strings.ToUpper(under) + "=" + text}},
			"file":     {file: under + " = \"" + text + "\"\n"},
			"file -":   {file: s.name + " = \"" + text + "\"\n"},
		}
		if s.group != arguments {
			places["flag"] = given{flags: []string{"--" + s.name + "=" + text}}
			places["-o"] = given{options: "rw," + under + "=" + text}
			places["-o -"] = given{options: s.name + "=" + text}
		}
		var base given
		if s.group == envelope && s.name != envelopeKey { // no meaning without it
			base.env = []string{"KMSFS_ENVELOPE_KEY_ID=alias/e"}
		}
		nothing, err := base.read(t)
		if err != nil {
			t.Fatal(err)
		}
		var first *config
		for place, g := range places {
			g.env = append(g.env, base.env...)
			c, err := g.read(t)
			if err != nil {
				t.Errorf("%s as %s: %v", s.name, place, err)
				continue
			}
			c.given, c.run.file = nil, ""
			if first == nil {
				first = c
			}
			if diff := cmp.Diff(first, c, opaque); diff != "" {
				t.Errorf("%s as %s differs:\n%s", s.name, place, diff)
			}
		}
		nothing.given = nil
		if first != nil && cmp.Equal(nothing, first, opaque) {
			t.Errorf("%s changes nothing", s.name)
		}
	}
}

func TestBadValuesAreRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		given
		want string // regular expression for the message
	}{
		{"part too small", given{flags: []string{"--part-size=5MB"}}, `^--part-size: 5MB is out of range; use 5.0 MiB to 5.0 GiB$`},
		{"part too large", given{options: "part_size=6GiB"}, `^-o part_size: 6GiB is out of range`},
		{"no size", given{env: []string{"KMSFS_MEMORY=lots"}}, `^variable KMSFS_MEMORY: "lots" is not a size; write it like 64MiB$`},
		{"negative size", given{flags: []string{"--memory=-1"}}, `not a size`},
		{"huge size", given{flags: []string{"--memory=16EiB"}}, `out of range|not a size`},
		{"context without value", given{flags: []string{"--encryption-context=team"}}, `^--encryption-context: "team" is not a pair; write it as KEY=VALUE$`},
		{"context without key", given{flags: []string{"--encryption-context==x"}}, `is not a pair`},
		{"context twice", given{flags: []string{"--encryption-context=a=1", "--encryption-context=a=2"}}, `"a" is given twice`},
		{"dsse with bucket key", given{flags: []string{"--sse=aws:kms:dsse", "--bucket-key"}}, `^--bucket-key: S3 has no bucket keys for aws:kms:dsse; leave out one of the two$`},
		{"dsse with bucket key in the file", given{flags: []string{"--sse=aws:kms:dsse"}, file: `bucket-key = true`}, `"true" is unknown; use on or off or inherit`},
		{"AES256 with key", given{flags: []string{"--sse=AES256", "--sse-kms-key-id=alias/x"}}, `has no meaning with --sse AES256`},
		{"AES256 with context", given{flags: []string{"--sse=AES256", "--encryption-context=a=b"}}, `has no meaning`},
		{"none", given{flags: []string{"--sse=none"}}, `^--sse: S3 is not to encrypt, so nothing would; add --envelope-key-id, or use aws:kms$`},
		{"unknown mode", given{flags: []string{"--sse=kms"}}, `"kms" is unknown; use aws:kms or`},
		{"unknown policy", given{flags: []string{"--on-conflict=ask"}}, `^--on-conflict: "ask" is unknown; use keep or fail or overwrite$`},
		{"AES256 with further keys", given{flags: []string{"--sse=AES256", "--allow-key-id=alias/x"}}, `^--allow-key-id has no meaning with --sse AES256`},
		{"requirement", given{flags: []string{"--require-encryption=yes"}}, `"yes" is unknown; use enforce or warn or off`},
		{"requirement of sealed content", given{options: "envelope_key_id=k,require_encryption=off"}, `^-o require_encryption has no meaning with --envelope-key-id unless --sse says aws:kms`},
		{"flag twice", given{flags: []string{"--region=a", "--region=b"}}, `given twice`},
		{"option twice", given{options: "region=a,region=b"}, `-o region is given twice`},
		{"unknown option", given{options: "regionn=a"}, `^-o regionn: unknown option`},
		{"later option", given{options: "salvage=x"}, `^-o salvage: unknown option`},
		{"source after -o", given{options: "source=s3://b"}, `unknown option`},
		{"option without value", given{options: "region"}, `^-o region: needs a value; write it as region=REGION$`},
		{"remount", given{options: "remount,ro"}, `cannot be changed`},
		{"unknown variable", given{env: []string{"KMSFS_SSE_KMS_KEYID=x"}}, `^variable KMSFS_SSE_KMS_KEYID: there is no such setting`},
		{"unknown key in the file", given{file: `colour = "red"`}, `^colour in .*: there is no such setting`},
		{"file in the file", given{file: `config = "/x"`}, `there is no such setting`},
		{"both spellings in the file", given{file: "part-size = \"8MiB\"\npart_size = \"9MiB\""}, `given twice`},
		{"list in the file", given{file: `region = ["a"]`}, `takes no such list`},
		{"table in the file", given{file: "[region]\na = \"b\""}, `takes no such table`},
		{"number as mode", given{file: `file-mode = 0o644`}, `write the mode as a string`},
		{"time in the file", given{file: `region = 2026-01-01`}, `not understood`},
		{"broken file", given{file: `region = `}, `^read the configuration file .*kmsfs.toml: toml: line 1`},
		{"no file", given{flags: []string{"--config=/absent.toml"}}, `^read the configuration file /absent.toml`},
		{"empty file name", given{flags: []string{"--config="}}, `names no file`},
		{"mode", given{flags: []string{"--file-mode=rw"}}, `not an octal mode`},
		{"mode with type", given{flags: []string{"--dir-mode=40755"}}, `not an octal mode`},
		{"uid", given{flags: []string{"--uid=4294967295"}}, `not a numeric id`},
		{"everybody and root alone", given{flags: []string{"--allow-other", "--allow-root"}}, `leave out one of the two`},
		{"switch", given{flags: []string{"--read-only=maybe"}}, `"maybe" is neither on nor off`},
		{"connections", given{flags: []string{"--max-connections=0"}}, `not a number from 1 to 1024`},
		{"time", given{flags: []string{"--attr-ttl=5"}}, `is not a time; write it like 90s or 5m`},
		{"short time", given{flags: []string{"--timeout=1ms"}}, `too short`},
		{"source", given{file: `source = "bucket/x"`}, `names no bucket; write it as s3://BUCKET or s3://BUCKET/PREFIX`},
		{"spool", given{flags: []string{"--part-size=1GiB", "--spool-size=100MiB"}}, `raise --spool-size`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := test.read(t)
			var usage *usageError
			if !errors.As(err, &usage) {
				t.Fatalf("accepted as %+v, error %v", c, err)
			}
			if !regexp.MustCompile(test.want).MatchString(err.Error()) {
				t.Errorf("message %q does not match %q", err, test.want)
			}
		})
	}
}

func TestEncryptionContextInEveryForm(t *testing.T) {
	want := map[string]string{"team": "a,b", "app": "x=y"}
	for place, g := range map[string]given{
		"flags":    {flags: []string{"--encryption-context", "team=a,b", "--encryption-context=app=x=y"}},
		"options":  {options: `encryption_context=team=a\,b,encryption-context=app=x=y`},
		"variable": {env: []string{`KMSFS_ENCRYPTION_CONTEXT=team=a\,b,app=x=y`}},
		"list":     {file: `encryption-context = ["team=a,b", "app=x=y"]`},
		"table":    {file: "[encryption_context]\nteam = \"a,b\"\napp = \"x=y\"\n"},
	} {
		c, err := g.read(t)
		if err != nil {
			t.Errorf("%s: %v", place, err)
			continue
		}
		if diff := cmp.Diff(want, c.s3.Policy.Context); diff != "" {
			t.Errorf("%s:\n%s", place, diff)
		}
	}
	// A stronger place replaces the list of a weaker one as a whole.
	c, err := given{flags: []string{"--encryption-context=a=1"}, file: `encryption-context = ["b=2"]`}.read(t)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "1"}, c.s3.Policy.Context); diff != "" {
		t.Error(diff)
	}
}

func TestDerivedValues(t *testing.T) {
	for _, test := range []struct {
		flags []string
		ok    func(c *config) bool
	}{
		{nil, func(c *config) bool { return c.s3.Policy.Mode == s3io.ModeKMS && c.s3.TimeoutScale == 1 }},
		{[]string{"--bucket-key=inherit"}, func(c *config) bool { return c.s3.Policy.BucketKey == s3io.BucketKeyInherit }},
		{[]string{"--bucket-key=off"}, func(c *config) bool { return c.s3.Policy.BucketKey == s3io.BucketKeyOff }},
		{[]string{"--bucket-key"}, func(c *config) bool { return c.s3.Policy.BucketKey == s3io.BucketKeyOn }},
		{[]string{"--sse=aws:kms:dsse", "--bucket-key=off"}, func(c *config) bool { return c.s3.Policy.Mode == s3io.ModeDSSE }},
		{[]string{"--require-encryption=off"}, func(c *config) bool { return c.s3.Require == s3io.RequireOff }},
		{[]string{"--require-encryption=warn", "--allow-key-id=a"}, func(c *config) bool { return c.s3.Require == s3io.RequireWarn && len(c.s3.AllowKeyIDs) == 1 }},
		{[]string{"--envelope-key-id=e", "--sse=aws:kms", "--require-encryption=warn"}, func(c *config) bool { return c.s3.Require == s3io.RequireWarn }},
		{[]string{"--read-ahead=0"}, func(c *config) bool { return c.s3.ReadAhead < 0 }},
		{[]string{"--read-ahead=auto"}, func(c *config) bool { return c.s3.ReadAhead == 0 }},
		{[]string{"--part-size=auto"}, func(c *config) bool { return c.s3.PartSize == 0 }},
		{[]string{"--part-size=5GiB"}, func(c *config) bool { return c.s3.PartSize == 5<<30 }},
		{[]string{"--timeout=45s"}, func(c *config) bool { return c.s3.TimeoutScale == 0.5 }},
		{[]string{"--ca-bundle=ca.pem"}, func(c *config) bool { return filepath.IsAbs(c.s3.CABundle) }},
	} {
		c, err := given{flags: test.flags}.read(t)
		if err != nil || !test.ok(c) {
			t.Errorf("%q: %+v, %v", test.flags, c, err)
		}
	}
}

func TestParseSource(t *testing.T) {
	for url, want := range map[string]source{
		"s3://b":         {bucket: "b"},
		"s3://b/":        {bucket: "b"},
		"s3://b/p/q":     {bucket: "b", key: "p/q"},
		"s3://b/p/":      {bucket: "b", key: "p/"},
		"s3://b/a b?c#d": {bucket: "b", key: "a b?c#d"},
		"s3://arn:aws:s3:eu-west-1:111122223333:accesspoint/ap/p": {bucket: "arn:aws:s3:eu-west-1:111122223333:accesspoint/ap", key: "p"},
	} {
		got, err := parseSource(url)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", url, got, err, want)
		}
	}
	for _, url := range []string{"", "b", "s3://", "s3:///p", "https://b.s3.amazonaws.com/p", "s3://a b"} {
		if got, err := parseSource(url); err == nil {
			t.Errorf("%q was accepted as %+v", url, got)
		}
	}
	if got := (source{bucket: "b", key: "p"}).prefix(); got != "p/" {
		t.Errorf("prefix %q", got)
	}
}
