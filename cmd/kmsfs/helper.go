package main

import (
	"fmt"
	"slices"
	"strings"
)

// helperName is the name under which mount(8) calls this command for
// filesystems of type kmsfs.
const helperName = "mount.kmsfs"

// Exit statuses of mount(8).
const (
	mountUsage   = 1
	mountFailure = 32
)

// runHelper acts as the helper of mount(8), which calls it as
// mount.kmsfs SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE].
func runHelper(s std, args []string) int {
	mountArgs, err := helperArgs(args)
	if err != nil {
		fmt.Fprintf(s.err, "%s: %v\n", helperName, err)
		return mountUsage
	}
	switch run(s, mountArgs) {
	case exitOK:
		return 0
	case exitUsage:
		return mountUsage
	}
	return mountFailure
}

// helperArgs translates the arguments of the helper into those of kmsfs mount.
func helperArgs(args []string) ([]string, error) {
	translated := []string{"mount"}
	var places []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			places = append(places, arg)
			continue
		}
		for j := 1; j < len(arg); j++ {
			switch arg[j] {
			case 'n', 'v': // there is no mtab to write, and nothing more to say
				continue
			case 'f':
				translated = append(translated, "--"+fakeFlag)
				continue
			case 's':
				translated = append(translated, "--"+sloppyFlag)
				continue
			case 'o', 't', 'N':
			default:
				return nil, fmt.Errorf("flag -%c is unknown; mount(8) lists those of mount helpers", arg[j])
			}
			text := arg[j+1:] // -oOPTIONS or -o OPTIONS
			if text == "" {
				if i++; i == len(args) {
					return nil, fmt.Errorf("flag -%c needs a value; give one after it", arg[j])
				}
				text = args[i]
			}
			switch arg[j] {
			case 'o':
				translated = append(translated, "-o", text)
			case 'N':
				return nil, fmt.Errorf("mount namespaces (-N) are not supported; run the command inside the namespace with nsenter(1)")
			}
			break
		}
	}
	if len(places) != 2 {
		return nil, fmt.Errorf("%d arguments where a source and a directory are needed; write %s s3://BUCKET/PREFIX DIR [-o OPTIONS]", len(places), helperName)
	}
	return append(append(translated, "--"), places...), nil
}

// isForOthers says whether a word of mount(8) or fstab(5) needs nothing of us:
// it is meant for mount(8) or systemd, or is so in any case. A mount never
// honours device nodes and set-user-id bits, whatever dev and suid say, and
// keeps no access times.
func isForOthers(name string) bool {
	return strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-") || slices.Contains([]string{
		"defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "comment",
		"dev", "nodev", "suid", "nosuid", "async", "atime", "noatime", "diratime", "nodiratime", "relatime",
		"norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime", "loud", "silent"}, name)
}

// splitMountOptions separates the words of mount(8) from settings. Later
// words win over earlier ones, as mount(8) has it.
func splitMountOptions(options []option) (settings []option, noExec bool, err error) {
	readOnly := false
	for _, o := range options {
		switch {
		case o.name == "ro" || canonical(o.name) == "read-only" && !o.hasText:
			readOnly = true
		case o.name == "rw":
			readOnly = false
		case o.name == "noexec":
			noExec = true
		case o.name == "exec":
			noExec = false
		case o.name == "remount":
			return nil, false, fmt.Errorf("-o remount: a mount cannot be changed; unmount it and mount it again")
		case isForOthers(o.name):
			// user implies noexec, but mount(8) passes that on in so many words.
		default:
			settings = append(settings, o)
		}
	}
	if readOnly {
		settings = append(settings, option{name: "read-only"})
	}
	return settings, noExec, nil
}
