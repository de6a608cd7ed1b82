package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFUSEChecks(t *testing.T) {
	dir := t.TempDir()
	device, conf := filepath.Join(dir, "fuse"), filepath.Join(dir, "fuse.conf")
	for name, text := range map[string]string{device: "", conf: "# user_allow_other\n", conf + ".on": "user_allow_other\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	helpers := t.TempDir()
	if err := os.WriteFile(filepath.Join(helpers, "fusermount3"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		facts localFacts
		path  string
		want  string // "" is no failure
	}{
		{"all there", localFacts{device: device, fuseConf: conf}, helpers, ""},
		{"no device", localFacts{device: device + "x", fuseConf: conf, root: true}, helpers, `FUSE device cannot be opened .*modprobe fuse.*--device /dev/fuse`},
		{"no helper", localFacts{device: device, fuseConf: conf}, dir, `fusermount3 is not installed.*install the package fuse3`},
		{"no helper, root", localFacts{device: device, fuseConf: conf, root: true}, dir, ""},
		{"sharing not allowed", localFacts{device: device, fuseConf: conf, allowOther: true}, helpers, `--allow-other is not permitted.*add the line user_allow_other to .*fuse.conf`},
		{"sharing allowed", localFacts{device: device, fuseConf: conf + ".on", allowOther: true}, helpers, ""},
		{"sharing as root", localFacts{device: device, fuseConf: conf, allowOther: true, root: true}, helpers, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("PATH", test.path)
			var failed []string
			for _, c := range fuseChecks(test.facts) {
				if c.State == stateFail {
					failed = append(failed, c.Detail+"; "+c.Remedy)
				}
			}
			got := strings.Join(failed, "\n")
			if test.want == "" && got != "" || !regexp.MustCompile(test.want).MatchString(got) {
				t.Errorf("failures %q, want %q", got, test.want)
			}
		})
	}
}

func TestDeviceRemedy(t *testing.T) {
	if got := deviceRemedy(&os.PathError{Op: "open", Path: "/dev/fuse", Err: os.ErrPermission}); !strings.Contains(got, "root") || strings.Contains(got, "modprobe") {
		t.Errorf("a device of others: %s", got)
	}
	if got := deviceRemedy(os.ErrNotExist); !strings.Contains(got, "modprobe") {
		t.Errorf("no device: %s", got)
	}
}

func TestUnescapeMount(t *testing.T) {
	for in, want := range map[string]string{`/a\040b`: "/a b", `/a\134b`: `/a\b`, `/a\`: `/a\`, `/a\04`: `/a\04`, `/a\999`: `/a\999`} {
		if got := unescapeMount(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestInstallScript(t *testing.T) {
	root := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", filepath.Join("..", "..", "packaging", "install.sh"), self)
	cmd.Env = append(os.Environ(), "DESTDIR="+root, "PREFIX=/usr")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if info, err := os.Stat(filepath.Join(root, "usr/bin/kmsfs")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("binary: %v, %v", info, err)
	}
	if target, err := os.Readlink(filepath.Join(root, "sbin", helperName)); err != nil || target != "/usr/bin/kmsfs" {
		t.Errorf("helper points to %q, %v", target, err)
	}
	unit, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system/kmsfs@.service"))
	if err != nil || strings.Contains(string(unit), "@BINDIR@") || !strings.Contains(string(unit), "ExecStart=/usr/bin/kmsfs mount --foreground --config /etc/kmsfs/%i.toml\n") {
		t.Errorf("unit: %v\n%s", err, unit)
	}
}

// TestExampleFile keeps packaging/example.toml readable.
func TestExampleFile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "packaging", "example.toml"))
	if err != nil {
		t.Fatal(err)
	}
	uncommented := regexp.MustCompile(`(?m)^# (\S+ = |\[)`).ReplaceAllString(string(text), "$1")
	c, err := given{file: uncommented}.read(t)
	if err != nil {
		t.Fatal(err)
	}
	if c.source.bucket != "backup" || c.dir != "/mnt/backup" || c.s3.Policy.Context["team"] != "backup" || !c.tree.allowOther {
		t.Errorf("%+v", c)
	}
}

// FuzzMountTable: what the kernel escapes in its table of mounts comes back.
func FuzzMountTable(f *testing.F) {
	for _, seed := range []string{"/mnt/a b", "\\040", "\\", "\\01", "\\999", "a\\134b\n\t"} {
		f.Add(seed)
	}
	escape := strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`)
	f.Fuzz(func(t *testing.T, path string) {
		_ = unescapeMount(path)
		if got := unescapeMount(escape.Replace(path)); got != path {
			t.Errorf("%q came back as %q", path, got)
		}
	})
}

// Neither a debugger of the same user nor a core dump gets at the memory.
func TestMemoryIsHidden(t *testing.T) {
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) })
	if err := hideMemory(); err != nil {
		t.Fatal(err)
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("the process is dumpable: %d, %v", dumpable, err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil || limit != (unix.Rlimit{}) {
		t.Errorf("core dumps may have %+v, %v", limit, err)
	}
}
