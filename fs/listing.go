package fs

import (
	"context"
	"slices"
	"strings"

	"github.com/kmsfs/kmsfs/s3io"
)

// entry is one line of a directory.
type entry struct {
	name      string
	component string
	kind      kind
	obj       s3io.Object // of a file: what the listing says
	local     bool        // a file that is not in S3 yet
}

// raw is one element of a listing: an object, or a prefix with its slash.
type raw struct {
	component string
	obj       s3io.Object
	local     bool
}

// listing turns pages of a directory into entries, in an order that is fixed
// by the keys. Its memory is bounded by one page, however many there are.
//
// S3 sorts the directory `x/` as "x/", after objects such as "x" and "x-1". So
// whether an object "x" is hidden by a directory is known only later, and it is
// held back until then. What is held at one time begins with one another,
// which makes it a stack that is never deeper than a name is long.
type listing struct {
	prefix string
	skip   func(component string) bool // hides entries
	page   func(ctx context.Context, q s3io.ListQuery) (s3io.ListPage, error)

	after string   // begin behind this raw component
	last  string   // the last raw component that came
	token string   // of the next page
	ended bool     // there is no next page
	local []string // components of files that S3 does not know yet, sorted
	held  []raw
	ready []entry
}

// next returns the next entries, none at the end.
func (l *listing) next(ctx context.Context) ([]entry, error) {
	for len(l.ready) == 0 && !l.ended {
		q := s3io.ListQuery{Prefix: l.prefix, Delimiter: true, Token: l.token, Max: pageSize}
		if l.after != "" && l.token == "" {
			q.After = l.prefix + strings.TrimSuffix(l.after, "/")
		}
		page, err := l.page(ctx, q)
		if err != nil {
			return nil, err
		}
		l.token, l.ended = page.Token, page.Token == ""
		for _, r := range l.merge(page) {
			l.feed(r)
		}
		if l.ended {
			for _, c := range l.local {
				l.feed(raw{component: c, local: true})
			}
			l.local = nil
			l.release("")
		}
	}
	ready := l.ready
	l.ready = nil
	return ready, nil
}

// merge sorts a page and puts files in that S3 does not know yet.
func (l *listing) merge(page s3io.ListPage) []raw {
	all := make([]raw, 0, len(page.Objects)+len(page.Prefixes))
	for _, o := range page.Objects {
		all = append(all, raw{component: strings.TrimPrefix(o.Key, l.prefix), obj: o})
	}
	for _, p := range page.Prefixes {
		all = append(all, raw{component: strings.TrimPrefix(p, l.prefix)})
	}
	all = slices.DeleteFunc(all, func(r raw) bool { return r.component == "" || l.after != "" && r.component <= l.after })
	byComponent := func(a, b raw) int { return strings.Compare(a.component, b.component) }
	slices.SortFunc(all, byComponent)
	merged := make([]raw, 0, len(all))
	for _, r := range all {
		for len(l.local) > 0 && l.local[0] <= r.component {
			if l.local[0] < r.component {
				merged = append(merged, raw{component: l.local[0], local: true})
			}
			l.local = l.local[1:]
		}
		merged = append(merged, r)
		l.last = r.component
	}
	return merged
}

// feed takes the next element in key order.
func (l *listing) feed(r raw) {
	component, isPrefix := strings.CutSuffix(r.component, "/")
	l.release(r.component)
	if !isPrefix {
		l.held = append(l.held, r)
		return
	}
	hides := len(l.held) > 0 && l.held[len(l.held)-1].component == component
	if name, ok := nameOf(component); ok && !l.skip(component) {
		l.ready = append(l.ready, entry{name: name, component: component, kind: isDir})
	}
	if hides {
		o := l.held[len(l.held)-1]
		l.held = l.held[:len(l.held)-1]
		if name, ok := shadowOf(component); ok && !l.skip(component) {
			l.ready = append(l.ready, entry{name: name, component: component, kind: isFile, obj: o.obj, local: o.local})
		}
	}
}

// release lets go of held objects that no directory can hide any more, because
// the listing has come to at, which is behind the place of such a directory.
func (l *listing) release(at string) {
	for len(l.held) > 0 {
		top := l.held[len(l.held)-1]
		if at != "" && at <= top.component+"/" {
			return
		}
		l.held = l.held[:len(l.held)-1]
		if name, ok := nameOf(top.component); ok && !l.skip(top.component) {
			l.ready = append(l.ready, entry{name: name, component: top.component, kind: isFile, obj: top.obj, local: top.local})
		}
	}
}
