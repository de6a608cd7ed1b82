package s3

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
	"github.com/rclone/gofakes3"
)

// encryptionDocument is the body of Get- and PutBucketEncryption.
type encryptionDocument struct {
	XMLName xml.Name         `xml:"ServerSideEncryptionConfiguration"`
	Xmlns   string           `xml:"xmlns,attr,omitempty"`
	Rules   []encryptionRule `xml:"Rule"`
}

type encryptionRule struct {
	Default struct {
		SSEAlgorithm   string
		KMSMasterKeyID string `xml:",omitempty"`
	} `xml:"ApplyServerSideEncryptionByDefault"`
	BucketKeyEnabled bool
}

// getBucketEncryption answers with the default of new objects, which every bucket has.
func (s *Server) getBucketEncryption(w http.ResponseWriter, r *request) error {
	rule := encryptionRule{}
	err := s.store.view(r.Bucket, func(b *bucket) error {
		rule.Default.SSEAlgorithm, rule.Default.KMSMasterKeyID = b.Encryption.Algorithm, b.Encryption.KeyID
		rule.BucketKeyEnabled = b.Encryption.BucketKey
		return nil
	})
	if err != nil {
		return err
	}
	return writeXML(w, encryptionDocument{Xmlns: namespace, Rules: []encryptionRule{rule}})
}

// putBucketEncryption sets the default of new objects. As on AWS, the key is not looked at before it is used.
func (s *Server) putBucketEncryption(_ http.ResponseWriter, r *request) error {
	var body encryptionDocument
	if err := readXML(r.Body, &body); err != nil || len(body.Rules) != 1 {
		return malformedXML()
	}
	rule := body.Rules[0]
	algorithm, key := rule.Default.SSEAlgorithm, rule.Default.KMSMasterKeyID
	switch {
	case algorithm != sseS3 && algorithm != sseKMS && algorithm != sseDSSE:
		return malformedXML()
	case algorithm == sseS3 && key != "":
		return invalidArgument("KMSMasterKeyID", key, "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse")
	}
	return s.setEncryption(r.Bucket, Encryption{Algorithm: algorithm, KeyID: key, BucketKey: rule.BucketKeyEnabled})
}

// deleteBucketEncryption sets the default back to SSE-S3.
func (s *Server) deleteBucketEncryption(w http.ResponseWriter, r *request) error {
	if err := s.setEncryption(r.Bucket, Encryption{Algorithm: sseS3}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) setEncryption(name string, e Encryption) error {
	return s.store.update(name, func(b *bucket) ([]change, error) {
		changed := b.settings
		changed.Encryption = e
		return []change{{Bucket: name, Settings: &changed}}, nil
	})
}

// createBucket makes a bucket, in the region that the body names.
func (s *Server) createBucket(w http.ResponseWriter, r *request) error {
	if gofakes3.ValidateBucketName(r.Bucket) != nil {
		return with(wire.Errorf(400, "InvalidBucketName", "The specified bucket is not valid."), "BucketName", r.Bucket)
	}
	var body struct{ LocationConstraint string }
	if r.ContentLength != 0 {
		if err := readXML(r.Body, &body); err != nil {
			return malformedXML()
		}
	}
	if err := s.CreateBucket(r.Bucket, BucketOptions{Region: body.LocationConstraint}); err != nil {
		return err
	}
	w.Header().Set("Location", "/"+r.Bucket)
	return nil
}

// headBucket answers that the bucket is there: admit has seen to the rest.
func (s *Server) headBucket(http.ResponseWriter, *request) error { return nil }

// getBucketLocation answers the region, which is empty for us-east-1.
func (s *Server) getBucketLocation(w http.ResponseWriter, r *request) error {
	document := struct {
		XMLName xml.Name `xml:"LocationConstraint"`
		Xmlns   string   `xml:"xmlns,attr"`
		Region  string   `xml:",chardata"`
	}{Xmlns: namespace}
	err := s.store.view(r.Bucket, func(b *bucket) error {
		if b.Region != "us-east-1" {
			document.Region = b.Region
		}
		return nil
	})
	if err != nil {
		return err
	}
	return writeXML(w, document)
}

// tagDocument is the body of Get- and PutObjectTagging.
type tagDocument struct {
	XMLName xml.Name `xml:"Tagging"`
	Xmlns   string   `xml:"xmlns,attr,omitempty"`
	Tags    []tag    `xml:"TagSet>Tag"`
}

type tag struct{ Key, Value string }

// getObjectTagging answers the tags of an object or version.
func (s *Server) getObjectTagging(w http.ResponseWriter, r *request) error {
	document := tagDocument{Xmlns: namespace, Tags: []tag{}}
	err := s.store.view(r.Bucket, func(b *bucket) error {
		v, err := b.readable(r.Key, r.version(), w.Header())
		if err != nil {
			return err
		}
		tags, err := url.ParseQuery(v.Tags)
		for name := range tags {
			document.Tags = append(document.Tags, tag{name, tags.Get(name)})
		}
		return err
	})
	if err != nil {
		return s.unread(r, err)
	}
	slices.SortFunc(document.Tags, func(a, b tag) int { return strings.Compare(a.Key, b.Key) })
	return writeXML(w, document)
}

// putObjectTagging replaces the tags; DeleteObjectTagging does so by none.
func (s *Server) putObjectTagging(w http.ResponseWriter, r *request) error {
	tags := url.Values{}
	if r.Method == http.MethodPut {
		var body tagDocument
		if err := readXML(r.Body, &body); err != nil {
			return malformedXML()
		}
		for _, t := range body.Tags {
			tags.Add(t.Key, t.Value)
		}
	}
	canonical, err := tagsOf(http.Header{headerTagging: {tags.Encode()}})
	if err != nil {
		return err
	}
	err = s.store.update(r.Bucket, func(b *bucket) ([]change, error) {
		v, err := b.readable(r.Key, r.version(), w.Header())
		if err != nil {
			return nil, err
		}
		return []change{{Bucket: r.Bucket, Retag: &versionName{Key: v.Key, ID: v.ID, Tags: canonical}}}, nil
	})
	if err != nil {
		return s.unread(r, err)
	}
	if r.Method == http.MethodDelete {
		w.WriteHeader(http.StatusNoContent)
	}
	return nil
}
