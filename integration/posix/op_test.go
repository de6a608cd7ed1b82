package posix

import (
	"encoding/json"
	"fmt"
	"strings"
)

// op is one step of a program. A worker does it with real system calls, on the
// mount and on the plain directory.
type op struct {
	Kind  string
	Path  string `json:",omitempty"`
	To    string `json:",omitempty"` // the second path; the target of a symbolic link
	Slot  int    `json:",omitempty"` // of an open file of the worker
	Flags int    `json:",omitempty"`
	Mode  uint32 `json:",omitempty"`
	UID   int    `json:",omitempty"`
	GID   int    `json:",omitempty"`
	Off   int64  `json:",omitempty"`
	Len   int    `json:",omitempty"`
	Seed  uint64 `json:",omitempty"` // of the content that is written
	Name  string `json:",omitempty"` // of an extended attribute
	Sec   int64  `json:",omitempty"` // a time
	Nsec  int64  `json:",omitempty"`
}

// String shows what matters of a step.
func (o op) String() string {
	b, err := json.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// outcome is what a program sees of a step.
type outcome struct {
	Err   string   `json:",omitempty"` // name of the errno
	N     int64    `json:",omitempty"`
	Data  []byte   `json:"-"` // stays in the worker, which compares it
	Sum   string   `json:",omitempty"`
	Lines []string `json:",omitempty"` // names, or the status of files
}

// answer is what a worker says of a step.
type answer struct {
	Mount, Plain outcome
	Where        string `json:",omitempty"` // the first difference of the data
}

// status is what stat(2) shows of a file, as far as it is promised.
type status struct {
	mode     uint32 // with the type
	size     int64
	nlink    uint64
	uid, gid uint32
	sec      int64 // of the modification time
	nsec     int64
	xattrs   string
	target   string // of a symbolic link
	content  string // its checksum, in whole trees
}

// difference compares two outcomes and says what is not equal, "" if all is.
func (a answer) difference() string {
	var all []string
	if a.Mount.Err != a.Plain.Err {
		all = append(all, fmt.Sprintf("the mount answers %s, the plain directory %s", orOK(a.Mount.Err), orOK(a.Plain.Err)))
	}
	if a.Mount.N != a.Plain.N {
		all = append(all, fmt.Sprintf("the mount returns %d, the plain directory %d", a.Mount.N, a.Plain.N))
	}
	if a.Mount.Sum != a.Plain.Sum {
		all = append(all, "other data: "+a.Where)
	}
	for i := range max(len(a.Mount.Lines), len(a.Plain.Lines)) {
		m, p := line(a.Mount.Lines, i), line(a.Plain.Lines, i)
		if m != p && !tolerated(m, p) {
			all = append(all, fmt.Sprintf("\n\tmount: %s\n\tplain: %s", m, p))
			if len(a.Mount.Lines) != len(a.Plain.Lines) {
				break // what follows is only shifted
			}
		}
	}
	return strings.Join(all, "; ")
}

func orOK(errno string) string {
	if errno == "" {
		return "ok"
	}
	return errno
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}
