package fs

import "context"

// readable is the answer to what reads an object, or changes it in part, that S3
// does not protect as the mount requires. It is known from the answer that told
// the attributes; else ask says whether to ask for it: reads find out themselves.
func (n *file) readable(ctx context.Context, ask bool) error {
	n.mu.Lock()
	o, unsaved := n.obj, n.unsaved
	n.mu.Unlock()
	if unsaved || o.ETag == "" || !o.Head && !ask {
		return nil
	}
	return n.f.b.Readable(ctx, o)
}
