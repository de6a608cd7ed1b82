package s3

import (
	"context"
	"io"
	"strings"

	"github.com/rclone/gofakes3"
)

// backend is the storage as gofakes3 sees it: buckets, their versioning, and listings.
type backend struct {
	unreached
	s *Server
}

var (
	_ gofakes3.Backend          = backend{}
	_ gofakes3.VersionedBackend = backend{}
)

// ListBuckets returns all buckets.
func (b backend) ListBuckets(context.Context) ([]gofakes3.BucketInfo, error) {
	b.s.store.mu.RLock()
	defer b.s.store.mu.RUnlock()
	var all []gofakes3.BucketInfo
	for name, bucket := range b.s.store.buckets {
		all = append(all, gofakes3.BucketInfo{Name: name, CreationDate: gofakes3.NewContentTime(bucket.Created)})
	}
	return all, nil
}

// BucketExists reports whether there is such a bucket.
func (b backend) BucketExists(_ context.Context, name string) (bool, error) {
	return b.s.HasBucket(name), nil
}

// DeleteBucket removes an empty bucket, and its uploads in progress.
func (b backend) DeleteBucket(_ context.Context, name string) error {
	return foreign(b.s.store.update(name, func(bucket *bucket) ([]change, error) {
		if len(bucket.keys) > 0 {
			return nil, gofakes3.ResourceError(gofakes3.ErrBucketNotEmpty, name)
		}
		var changes []change
		for id := range bucket.uploads {
			changes = append(changes, change{Bucket: name, End: &endUpload{Upload: id}})
		}
		return append(changes, change{Bucket: name, Drop: true}), nil
	}))
}

// LimitPages has listings of objects come in pages of at most n, however many the client takes: S3 may answer with fewer.
func (s *Server) LimitPages(n int) { s.pageSize.Store(int64(n)) }

// ListBucket returns a page of the current objects.
func (b backend) ListBucket(_ context.Context, name string, prefix *gofakes3.Prefix, at gofakes3.ListBucketPage) (*gofakes3.ObjectList, error) {
	list, most := gofakes3.NewObjectList(), at.MaxKeys
	if limit := b.s.pageSize.Load(); limit > 0 {
		most = min(most, limit)
	}
	err := b.s.store.view(name, func(bucket *bucket) error {
		bucket = b.s.listed(name, bucket)
		gone := func(key string) bool { return bucket.current(key) == nil }
		p := pageOf(bucket.keys, prefix.Prefix, prefix.Delimiter, at.Marker, int(most), gone)
		for _, key := range p.names {
			v := bucket.current(key)
			list.Add(&gofakes3.Content{Key: key, LastModified: gofakes3.NewContentTime(v.Modified), ETag: quoted(v.ETag),
				Size: v.Size, StorageClass: gofakes3.StorageClass(v.Class), Owner: &gofakes3.UserInfo{ID: owner}})
		}
		for _, common := range p.prefixes {
			list.AddPrefix(common)
		}
		if list.IsTruncated = p.truncated; p.truncated {
			list.NextMarker = p.last
		}
		return nil
	})
	return list, foreign(err)
}

// ListBucketVersions returns a page of all versions and delete markers, the newest of each key first.
func (b backend) ListBucketVersions(name string, prefix *gofakes3.Prefix, at *gofakes3.ListBucketVersionsPage) (*gofakes3.ListBucketVersionsResult, error) {
	list := gofakes3.NewListBucketVersionsResult(name, prefix, at)
	err := b.s.store.view(name, func(bucket *bucket) error {
		after, passed := at.KeyMarker, !at.HasVersionIDMarker
		if at.HasVersionIDMarker { // the page continues within the marker's key
			for _, v := range bucket.versions[after] {
				if passed {
					list.Versions = append(list.Versions, listed(v, false))
				}
				passed = passed || v.ID == string(at.VersionIDMarker)
			}
		}
		p := pageOf(bucket.keys, prefix.Prefix, prefix.Delimiter, after, int(at.MaxKeys), nil)
		for _, common := range p.prefixes {
			list.AddPrefix(common)
		}
		for _, key := range p.names {
			for i, v := range bucket.versions[key] {
				list.Versions = append(list.Versions, listed(v, i == 0))
			}
		}
		list.IsTruncated = p.truncated
		if p.truncated {
			list.NextKeyMarker = p.last
		}
		cut(list, int(at.MaxKeys))
		return nil
	})
	return list, foreign(err)
}

// cut ends a page of versions after max of them: pageOf counted keys.
func cut(list *gofakes3.ListBucketVersionsResult, limit int) {
	if len(list.Versions) <= limit {
		return
	}
	list.Versions = list.Versions[:limit]
	last := list.Versions[limit-1]
	list.IsTruncated, list.NextVersionIDMarker = true, last.GetVersionID()
	switch v := last.(type) {
	case *gofakes3.Version:
		list.NextKeyMarker = v.Key
	case *gofakes3.DeleteMarker:
		list.NextKeyMarker = v.Key
	}
}

func listed(v *version, latest bool) gofakes3.VersionItem {
	at := gofakes3.NewContentTime(v.Modified)
	if v.Marker {
		return &gofakes3.DeleteMarker{Key: v.Key, VersionID: gofakes3.VersionID(v.ID), IsLatest: latest, LastModified: at, Owner: &gofakes3.UserInfo{ID: owner}}
	}
	return &gofakes3.Version{Key: v.Key, VersionID: gofakes3.VersionID(v.ID), IsLatest: latest, LastModified: at, Size: v.Size,
		StorageClass: gofakes3.StorageClass(v.Class), ETag: quoted(v.ETag), Owner: &gofakes3.UserInfo{ID: owner}}
}

// VersioningConfiguration returns the versioning state of a bucket.
func (b backend) VersioningConfiguration(name string) (c gofakes3.VersioningConfiguration, err error) {
	err = b.s.store.view(name, func(bucket *bucket) error {
		c.Status = gofakes3.VersioningStatus(bucket.Versioning)
		return nil
	})
	return c, foreign(err)
}

// SetVersioningConfiguration switches versioning on or suspends it.
func (b backend) SetVersioningConfiguration(name string, c gofakes3.VersioningConfiguration) error {
	return foreign(b.s.store.update(name, func(bucket *bucket) ([]change, error) {
		changed := bucket.settings
		if changed.Versioning = string(c.Status); changed.Versioning == Unversioned {
			return nil, gofakes3.ErrorMessage(gofakes3.ErrIllegalVersioningConfiguration, "The Versioning element must be specified")
		}
		return []change{{Bucket: name, Settings: &changed}}, nil
	}))
}

// HeadObject tells gofakes3 whether there is an object, for the ACL that all of them have.
func (b backend) HeadObject(_ context.Context, name, key string) (*gofakes3.Object, error) {
	err := b.s.store.view(name, func(bucket *bucket) error {
		_, err := bucket.readable(key, "", map[string][]string{})
		return err
	})
	if err != nil {
		return nil, foreign(err)
	}
	return &gofakes3.Object{Name: key, Contents: io.NopCloser(strings.NewReader(""))}, nil
}

// unreached are the methods of the interface whose requests never come to gofakes3: what reads, writes or deletes
// objects has rules of SSE, versions and conditions that gofakes3 does not know, and buckets have regions.
type unreached struct{}

func (unreached) CreateBucket(context.Context, string) error { return gofakes3.ErrNotImplemented }

func (unreached) GetObject(context.Context, string, string, *gofakes3.ObjectRangeRequest) (*gofakes3.Object, error) {
	return nil, gofakes3.ErrNotImplemented
}

func (unreached) DeleteObject(context.Context, string, string) (gofakes3.ObjectDeleteResult, error) {
	return gofakes3.ObjectDeleteResult{}, gofakes3.ErrNotImplemented
}

func (unreached) PutObject(context.Context, string, string, map[string]string, io.Reader, int64) (gofakes3.PutObjectResult, error) {
	return gofakes3.PutObjectResult{}, gofakes3.ErrNotImplemented
}

func (unreached) DeleteMulti(context.Context, string, ...string) (gofakes3.MultiDeleteResult, error) {
	return gofakes3.MultiDeleteResult{}, gofakes3.ErrNotImplemented
}

func (unreached) CopyObject(context.Context, string, string, string, string, map[string]string) (gofakes3.CopyObjectResult, error) {
	return gofakes3.CopyObjectResult{}, gofakes3.ErrNotImplemented
}

func (unreached) GetObjectVersion(string, string, gofakes3.VersionID, *gofakes3.ObjectRangeRequest) (*gofakes3.Object, error) {
	return nil, gofakes3.ErrNotImplemented
}

func (unreached) HeadObjectVersion(string, string, gofakes3.VersionID) (*gofakes3.Object, error) {
	return nil, gofakes3.ErrNotImplemented
}

func (unreached) DeleteObjectVersion(string, string, gofakes3.VersionID) (gofakes3.ObjectDeleteResult, error) {
	return gofakes3.ObjectDeleteResult{}, gofakes3.ErrNotImplemented
}
