package fs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kmsfs/kmsfs/s3io"
	"pgregory.net/rapid"
)

// fakePages lists keys as S3 does with a delimiter, in pages of size entries.
func fakePages(keys []string, size int) func(context.Context, s3io.ListQuery) (s3io.ListPage, error) {
	return func(_ context.Context, q s3io.ListQuery) (s3io.ListPage, error) {
		after := max(q.After, q.Token)
		var page s3io.ListPage
		seen := ""
		for _, k := range keys {
			if !strings.HasPrefix(k, q.Prefix) {
				continue
			}
			item := k
			if i := strings.Index(k[len(q.Prefix):], "/"); i >= 0 {
				item = k[:len(q.Prefix)+i+1]
			}
			if item == seen || (q.Token != "" && item <= q.Token) || k <= after {
				continue
			}
			if len(page.Objects)+len(page.Prefixes) == size {
				page.Token = seen
				return page, nil
			}
			seen = item
			if item == k && !strings.HasSuffix(k, "/") || k == q.Prefix {
				page.Objects = append(page.Objects, s3io.Object{Key: k})
			} else {
				page.Prefixes = append(page.Prefixes, item)
			}
		}
		return page, nil
	}
}

// naive is the same answer made from the whole set.
func naive(keys, local []string, prefix string) []string {
	files, dirs := map[string]bool{}, map[string]bool{}
	for _, k := range keys {
		rest := strings.TrimPrefix(k, prefix)
		if c, _, ok := strings.Cut(rest, "/"); ok {
			dirs[c] = true
		} else if rest != "" {
			files[rest] = true
		}
	}
	for _, c := range local {
		files[c] = true
	}
	var names []string
	for c := range dirs {
		if name, ok := nameOf(c); ok {
			names = append(names, name+"/")
		}
	}
	for c := range files {
		name, ok := nameOf(c)
		if dirs[c] {
			name, ok = shadowOf(c)
		}
		if ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func drawKeys(t *rapid.T, label string) []string {
	part := rapid.SampledFrom([]string{"", ".", "..", "a", "a-", "a-1", "a.", "a0", "aa", "b", quote + "FF", "a" + shadow, "z"})
	var keys []string
	for range rapid.IntRange(0, 30).Draw(t, label) {
		k := strings.Join(rapid.SliceOfN(part, 1, 3).Draw(t, "key"), "/")
		if k != "" {
			keys = append(keys, "d/"+k)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func TestListingShowsWhatIsThereOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := drawKeys(t, "keys")
		local := slices.Compact(slices.Sorted(slices.Values(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a-", "new", "0", "zz"}), 0, 3).Draw(t, "local"))))
		size := rapid.IntRange(1, 5).Draw(t, "page")
		l := &listing{prefix: "d/", skip: func(string) bool { return false }, page: fakePages(keys, size), local: local}
		entries := drain(t, l)
		var got []string
		for _, e := range entries {
			got = append(got, show(e))
			if e.kind == isFile && !e.local && e.obj.Key != "d/"+e.component {
				t.Fatalf("%q is object %q", e.name, e.obj.Key)
			}
		}
		slices.Sort(got)
		if d := cmp.Diff(naive(keys, local, "d/"), got); d != "" {
			t.Fatalf("keys %q, local %q:\n%s", keys, local, d)
		}
	})
}

func TestListingGoesOnFromAnyMark(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pages := fakePages(drawKeys(t, "keys"), rapid.IntRange(1, 5).Draw(t, "page"))
		fresh := func(m mark) *listing {
			return &listing{prefix: "d/", skip: func(string) bool { return false }, page: pages, after: m.after, last: m.after, held: slices.Clone(m.held), local: m.local}
		}
		l := fresh(mark{})
		all := drain(t, fresh(mark{}))
		for pos := 0; ; {
			m := mark{after: l.last, held: slices.Clone(l.held), local: l.local}
			if d := cmp.Diff(shown(all[pos:]), shown(drain(t, fresh(m)))); d != "" {
				t.Fatalf("from %+v:\n%s", m, d)
			}
			batch, err := l.next(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if len(batch) == 0 {
				return
			}
			pos += len(batch)
		}
	})
}

func drain(t *rapid.T, l *listing) []entry {
	var all []entry
	for {
		batch, err := l.next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			return all
		}
		all = append(all, batch...)
	}
}

func show(e entry) string {
	if e.kind == isDir {
		return e.name + "/"
	}
	return e.name
}

func shown(entries []entry) string {
	var lines []string
	for _, e := range entries {
		lines = append(lines, fmt.Sprint(show(e), e.local))
	}
	return strings.Join(lines, "\n")
}
