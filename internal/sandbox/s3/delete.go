package s3

import (
	"cmp"
	"encoding/xml"
	"net/http"
)

// maxDeletes bounds the keys of DeleteObjects.
const maxDeletes = 1000

// A deletion is what is to go: the key, or one version of it.
type deletion struct {
	Key              string
	VersionId        string
	ETag             string
	Size             string
	LastModifiedTime string
}

// A deleted is what a deletion came to.
type deleted struct {
	Key                   string
	VersionId             string `xml:",omitempty"` // of the version that was removed
	DeleteMarker          bool   `xml:",omitempty"`
	DeleteMarkerVersionId string `xml:",omitempty"` // of the marker that was made or removed
}

// deleteObject answers DELETE of a key or of one version.
func (s *Server) deleteObject(w http.ResponseWriter, r *request) error {
	h := r.Header
	done, err := s.delete(r.Bucket, deletion{Key: r.Key, VersionId: r.version(), ETag: h.Get("If-Match"),
		Size: h.Get("X-Amz-If-Match-Size"), LastModifiedTime: h.Get("X-Amz-If-Match-Last-Modified-Time")})
	if err != nil {
		return err
	}
	if done.DeleteMarker {
		w.Header().Set("X-Amz-Delete-Marker", "true")
	}
	if id := cmp.Or(done.DeleteMarkerVersionId, done.VersionId); id != "" {
		w.Header().Set("X-Amz-Version-Id", id)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// delete removes the named version; or, without a name, the object as far as the bucket's versioning lets it go.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeletingObjectVersions.html
func (s *Server) delete(name string, d deletion) (done deleted, err error) {
	err = s.store.update(name, func(b *bucket) ([]change, error) {
		done = deleted{Key: d.Key, VersionId: d.VersionId}
		v := b.find(d.Key, d.VersionId)
		guarded := v
		if v != nil && v.Marker {
			guarded = nil
		}
		if err := deletable(d.ETag, d.Size, d.LastModifiedTime, d.Key, guarded); err != nil {
			return nil, err
		}
		remove := change{Bucket: name, Remove: &versionName{Key: d.Key, ID: d.VersionId}}
		switch {
		case d.VersionId != "":
			if v == nil {
				return nil, nil
			}
			if done.DeleteMarker = v.Marker; v.Marker {
				done.DeleteMarkerVersionId = v.ID
			}
			return []change{remove}, nil
		case b.Versioning == Unversioned:
			remove.Remove.ID = nullVersion
			return []change{remove}, nil
		}
		marker := &version{Key: d.Key, Marker: true}
		s.stamp(marker, b, v)
		done.DeleteMarker, done.DeleteMarkerVersionId = true, marker.ID
		return []change{{Bucket: name, Put: marker}}, nil
	})
	if err == nil {
		s.meetings.overtake(name, d.Key)
	}
	return done, err
}

// deleteObjects deletes many keys or versions; each succeeds or fails of its own.
func (s *Server) deleteObjects(w http.ResponseWriter, r *request) error {
	var body struct {
		Objects []deletion `xml:"Object"`
		Quiet   bool
	}
	if err := readXML(r.Body, &body); err != nil || len(body.Objects) == 0 || len(body.Objects) > maxDeletes {
		return malformedXML()
	}
	type failure struct{ Key, VersionId, Code, Message string }
	result := struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Xmlns   string   `xml:"xmlns,attr"`
		Deleted []deleted
		Error   []failure
	}{Xmlns: namespace}
	for _, d := range body.Objects {
		done, err := s.deleteOne(r, d)
		if err != nil {
			e := answer(err)
			result.Error = append(result.Error, failure{d.Key, d.VersionId, e.Code, e.Message})
		} else if !body.Quiet {
			result.Deleted = append(result.Deleted, done)
		}
	}
	return writeXML(w, result)
}

// deleteOne is delete for a caller who needs the right to it.
func (s *Server) deleteOne(r *request, d deletion) (deleted, error) {
	action := "s3:DeleteObject"
	if d.VersionId != "" {
		action = "s3:DeleteObjectVersion"
	}
	if err := s.allowed(r.caller.ARN, action, objectARN(r.Bucket, d.Key)); err != nil {
		return deleted{}, err
	}
	return s.delete(r.Bucket, d)
}
