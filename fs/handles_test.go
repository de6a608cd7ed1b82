package fs

import (
	"reflect"
	"testing"
)

// If a node and its handle both implement an operation, go-fuse silently asks
// the node. So each operation belongs to one of them.
func TestOperationsBelongToNodesOrHandles(t *testing.T) {
	ofHandles := []string{"Read", "Write", "Writev", "Flush", "Fsync", "Release", "Lseek", "Allocate", "Readdirent", "Seekdir", "Releasedir", "Fsyncdir", "Readdir", "Opendir"}
	ofNodes := []string{"Getattr", "Setattr", "Open", "Getxattr", "Setxattr", "Listxattr", "Removexattr", "Statx", "Create", "Mkdir"}
	for _, c := range []struct {
		of   any
		not  []string
		must []string
	}{
		{of: (*file)(nil), not: append(ofHandles, "Readlink"), must: []string{"Getattr", "Setattr", "Open", "Getxattr"}},
		{of: (*symlink)(nil), not: ofHandles, must: []string{"Getattr", "Setattr", "Readlink"}},
		{of: (*special)(nil), not: append(ofHandles, "Readlink"), must: []string{"Getattr", "Setattr"}},
		{of: (*dir)(nil), not: ofHandles, must: []string{"Lookup", "Getattr", "Setattr", "Create", "OpendirHandle"}},
		{of: (*readHandle)(nil), not: append(ofNodes, "Lookup", "Write", "Flush"), must: []string{"Read", "Fsync", "Release"}},
		{of: (*writeHandle)(nil), not: append(ofNodes, "Lookup"), must: []string{"Read", "Write", "Flush", "Fsync", "Release"}},
		// go-fuse asks the directory's handle in READDIRPLUS and the node else.
		{of: (*dirHandle)(nil), not: ofNodes, must: []string{"Lookup", "Readdirent", "Seekdir", "Releasedir", "Fsyncdir"}},
	} {
		typ := reflect.TypeOf(c.of)
		for _, name := range c.not {
			if _, ok := typ.MethodByName(name); ok {
				t.Errorf("%v implements %s", typ, name)
			}
		}
		for _, name := range c.must {
			if _, ok := typ.MethodByName(name); !ok {
				t.Errorf("%v lacks %s", typ, name)
			}
		}
	}
}
