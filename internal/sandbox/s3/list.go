package s3

import (
	"cmp"
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rclone/gofakes3"
)

// iso is a time as XML answers have it.
func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// A page is one answer's worth of a walk over sorted names, in which names with a common prefix count once.
type page struct {
	names     []string
	prefixes  []string
	last      string // name or prefix that the page ends with
	truncated bool
}

// pageOf walks sorted names that begin with prefix and come after the marker; skip, which may be nil, leaves names
// out. A marker that is a common prefix itself is followed by what comes after all that it stands for.
func pageOf(names []string, prefix, delimiter, after string, limit int, skip func(string) bool) (p page) {
	i, _ := slices.BinarySearch(names, max(prefix, after))
	for i < len(names) && strings.HasPrefix(names[i], prefix) {
		name := names[i]
		common := commonPrefix(name, prefix, delimiter)
		switch {
		case name <= after && after != "", skip != nil && skip(name):
			i++
			continue
		case common != "" && common == after:
			i = beyond(names, i, common)
			continue
		}
		if len(p.names)+len(p.prefixes) == limit {
			p.truncated = true
			return p
		}
		if common != "" {
			p.prefixes, p.last = append(p.prefixes, common), common
			i = beyond(names, i, common)
		} else {
			p.names, p.last = append(p.names, name), name
			i++
		}
	}
	return p
}

// commonPrefix is name up to the first delimiter after prefix; empty if there is none.
func commonPrefix(name, prefix, delimiter string) string {
	if delimiter == "" || !strings.HasPrefix(name, prefix) {
		return ""
	}
	if i := strings.Index(name[len(prefix):], delimiter); i >= 0 {
		return name[:len(prefix)+i+len(delimiter)]
	}
	return ""
}

// beyond returns the index of the first name from i on that does not begin with prefix.
func beyond(names []string, i int, prefix string) int {
	n, _ := slices.BinarySearchFunc(names[i:], prefix, func(name, prefix string) int {
		if strings.HasPrefix(name, prefix) {
			return -1
		}
		return cmp.Compare(name, prefix)
	})
	return i + n
}

// sortedUploads returns the uploads of the bucket by key, then by start.
func (b *bucket) sortedUploads() []*upload {
	all := make([]*upload, 0, len(b.uploads))
	for _, u := range b.uploads {
		all = append(all, u)
	}
	slices.SortFunc(all, func(a, b *upload) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// listedUpload is an upload in a listing.
type listedUpload struct {
	Key, UploadId    string
	Initiator, Owner person
	StorageClass     string
	Initiated        string
	ChecksumAlgorithm,
	ChecksumType string `xml:",omitempty"`
}

// uploadList answers ListMultipartUploads.
type uploadList struct {
	XMLName                           xml.Name `xml:"ListMultipartUploadsResult"`
	Xmlns                             string   `xml:"xmlns,attr"`
	Bucket, KeyMarker, UploadIdMarker string
	NextKeyMarker, NextUploadIdMarker string `xml:",omitempty"`
	Prefix, Delimiter, EncodingType   string `xml:",omitempty"`
	MaxUploads                        int
	IsTruncated                       bool
	Upload                            []listedUpload
	CommonPrefixes                    []prefixElement
}

type prefixElement struct{ Prefix string }

// person is who began an upload, or owns it.
type person struct{ ID string }

// owner is the canonical user ID of the sandbox's account.
const owner = "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a"

// listMultipartUploads lists the uploads in progress.
func (s *Server) listMultipartUploads(w http.ResponseWriter, r *request) error {
	limit, err := atoi(r, "max-uploads", 1000, 1000)
	if err != nil {
		return err
	}
	encode, err := encoding(r)
	if err != nil {
		return err
	}
	q := r.query
	list := uploadList{Xmlns: namespace, Bucket: r.Bucket, MaxUploads: limit, EncodingType: q.Get("encoding-type"), KeyMarker: encode(q.Get("key-marker")),
		UploadIdMarker: q.Get("upload-id-marker"), Prefix: encode(q.Get("prefix")), Delimiter: encode(q.Get("delimiter"))}
	err = s.store.view(r.Bucket, func(b *bucket) error {
		list.fill(b.sortedUploads(), q.Get("prefix"), q.Get("delimiter"), q.Get("key-marker"), encode)
		return nil
	})
	if err != nil {
		return err
	}
	return writeXML(w, list)
}

// fill takes the uploads that belong to the page.
func (l *uploadList) fill(all []*upload, prefix, delimiter, after string, encode func(string) string) {
	lastPrefix, passed := "", false
	for _, u := range all {
		common := commonPrefix(u.Key, prefix, delimiter)
		switch {
		case !strings.HasPrefix(u.Key, prefix), u.Key < after, common != "" && (common == lastPrefix || common == after):
			continue
		case after != "" && u.Key == after && !(passed && l.UploadIdMarker != ""):
			passed = passed || u.ID == l.UploadIdMarker
			continue
		}
		if len(l.Upload)+len(l.CommonPrefixes) == l.MaxUploads {
			l.IsTruncated = true
			return
		}
		l.NextKeyMarker, l.NextUploadIdMarker = encode(u.Key), u.ID
		if common != "" {
			lastPrefix = common
			l.NextKeyMarker, l.NextUploadIdMarker = encode(common), ""
			l.CommonPrefixes = append(l.CommonPrefixes, prefixElement{encode(common)})
			continue
		}
		l.Upload = append(l.Upload, listedUpload{Key: encode(u.Key), UploadId: u.ID, Initiator: person{u.Initiator}, Owner: person{owner}, StorageClass: u.Class, Initiated: iso(u.Started),
			ChecksumAlgorithm: u.Sum.Algorithm, ChecksumType: u.Sum.Type})
	}
	l.NextKeyMarker, l.NextUploadIdMarker = "", ""
}

// encoding returns how names are written: with encoding-type=url, or as they are.
func encoding(r *request) (func(string) string, error) {
	switch v := r.query.Get("encoding-type"); v {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		return gofakes3.URLEncode, nil
	default:
		return nil, invalidArgument("encoding-type", v, "Invalid Encoding Method specified in Request")
	}
}

// listedPart is a part in a listing.
type listedPart struct {
	PartNumber   int
	LastModified string
	ETag         string
	Size         int64
	sums
}

// partList answers ListParts.
type partList struct {
	XMLName                                          xml.Name `xml:"ListPartsResult"`
	Xmlns                                            string   `xml:"xmlns,attr"`
	Bucket, Key, UploadId                            string
	Initiator, Owner                                 person
	StorageClass                                     string
	PartNumberMarker, NextPartNumberMarker, MaxParts int
	IsTruncated                                      bool
	ChecksumAlgorithm                                string `xml:",omitempty"`
	ChecksumType                                     string `xml:",omitempty"`
	Part                                             []listedPart
}

// listParts lists the parts of an upload.
func (s *Server) listParts(w http.ResponseWriter, r *request) error {
	limit, err := atoi(r, "max-parts", 1000, 1000)
	if err != nil {
		return err
	}
	after, err := atoi(r, "part-number-marker", 0, maxParts)
	if err != nil {
		return err
	}
	var list partList
	err = s.store.view(r.Bucket, func(b *bucket) error {
		u, err := b.upload(r)
		if err != nil {
			return err
		}
		list = partList{Xmlns: namespace, Bucket: r.Bucket, Key: r.Key, UploadId: u.ID, Initiator: person{u.Initiator}, Owner: person{owner}, StorageClass: u.Class, PartNumberMarker: after,
			MaxParts: limit, ChecksumAlgorithm: u.Sum.Algorithm, ChecksumType: u.Sum.Type}
		for _, p := range u.sorted() {
			if p.Number <= after {
				continue
			}
			if list.IsTruncated = len(list.Part) == limit; list.IsTruncated {
				break
			}
			list.Part = append(list.Part, listedPart{p.Number, iso(p.Modified), quoted(p.ETag), p.Size, u.partSums(p)})
			list.NextPartNumberMarker = p.Number
		}
		return nil
	})
	if err != nil {
		return err
	}
	return writeXML(w, list)
}
