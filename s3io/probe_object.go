package s3io

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// wrongETag is one that no object has.
const wrongETag = `"00000000000000000000000000000000"`

// probe tries a server with one key, and removes whatever came to be under it.
type probe struct {
	b        *Bucket
	key      string
	now      made     // what is under the key
	versions []string // that were created
	left     bool     // what is under the key could not be removed
}

// create begins an upload, drops it, and returns what the answer proves.
func (p *probe) create(ctx context.Context) (proof, error) {
	u, got, err := p.b.sendCreate(ctx, p.key, heritage{}, false)
	if err != nil {
		return proof{}, p.refused(ctx, "create a multipart upload", err)
	}
	err = p.b.journal.begin(p.key, u.id)
	if err = errors.Join(err, p.b.abortUpload(ctx, u)); err != nil {
		return proof{}, err
	}
	if fault := p.b.expectation().fault(got); fault != "" && !got.silent() {
		return proof{}, p.unproven(fault)
	}
	return got, nil
}

// object makes an object under the policy, proves by HEAD that it is, and
// tries each condition on it with a value that must be refused.
func (p *probe) object(ctx context.Context, createEchoes bool) (caps Capabilities, err error) {
	defer func() {
		if gone := p.clean(ctx); gone != nil {
			p.left = true
			p.b.warn(fmt.Sprintf("the probe object %s could not be removed: %v", p.key, gone))
		}
	}()
	put, err := p.make(ctx, opPut, p.put, Condition{})
	if err != nil {
		return caps, p.refused(ctx, "put an object", err)
	}
	if err := p.proveStored(ctx, put); err != nil {
		return caps, err
	}
	if caps.PutIfAbsent, err = p.honours(ctx, opPut, p.put, Condition{IfAbsent: true}); err != nil {
		return caps, err
	}
	if caps.PutIfMatch, err = p.honours(ctx, opPut, p.put, Condition{IfMatch: wrongETag}); err != nil {
		return caps, err
	}
	copyEchoes, err := p.copies(ctx, &caps)
	if err != nil {
		return caps, err
	}
	completeEchoes, err := p.completes(ctx, &caps)
	if err != nil {
		return caps, err
	}
	switch caps.Echo = EchoHead; {
	case createEchoes && copyEchoes && completeEchoes && !put.proof.silent():
		caps.Echo = EchoAll
	case !put.proof.silent():
		caps.Echo = EchoPut
	}
	caps.Versioned = slices.ContainsFunc(p.versions, ownVersion)
	caps.DeleteIfMatch, err = p.deletes(ctx)
	return caps, err
}

// proveStored compares what the answer said with what HEAD says: a server may
// take the headers, and even repeat them, and store plaintext.
func (p *probe) proveStored(ctx context.Context, put made) error {
	o, _, err := p.b.head(ctx, p.key, put.version)
	if err != nil {
		return p.refused(ctx, "head the object", err)
	}
	stored := proof{Encryption: o.Encryption}
	e := p.b.expectation()
	if stored.silent() && !e.none {
		return p.unproven("the server took the encryption headers and stored the probe object without encryption")
	}
	for _, got := range []proof{put.proof, stored} {
		if fault := e.fault(got); fault != "" && !got.silent() {
			return p.unproven(fault)
		}
	}
	p.b.countBucketKey(p.key, stored)
	p.b.pin(stored)
	return nil
}

// send is one way of creating the probe object.
type send func(ctx context.Context, commit string, c Condition) (made, error)

// make creates the object by one of the ways.
func (p *probe) make(ctx context.Context, op string, by send, c Condition) (made, error) {
	m, err := p.b.settle(ctx, creation{op: op, key: p.key, commit: newCommitID(), cond: c, honoured: true, send: by})
	if err != nil {
		return made{}, err
	}
	p.now = m
	p.versions = append(p.versions, m.version)
	return m, nil
}

// honours reports whether the server refuses c, which is not met.
func (p *probe) honours(ctx context.Context, op string, by send, c Condition) (bool, error) {
	m, err := p.make(ctx, op, by, c)
	switch {
	case err == nil:
		if fault := p.b.expectation().fault(m.proof); fault != "" && !m.proof.silent() {
			return false, p.unproven(fault)
		}
		return false, nil
	case status(err) == http.StatusPreconditionFailed:
		return true, nil
	case fateOf(err) == refused && KindOf(classify(ctx, "probe", p.key, err)) != Permission:
		return false, nil // it does not know the condition, or not the operation
	}
	return false, p.refused(ctx, op+" the object", err)
}

func (p *probe) put(ctx context.Context, commit string, c Condition) (made, error) {
	content := []byte(probeText)
	return p.b.sendPut(ctx, p.key, bytes.NewReader(content), int64(len(content)), heritage{}.header(commit), c)
}

// copies tries CopyObject and reports whether its answers prove encryption.
func (p *probe) copies(ctx context.Context, caps *Capabilities) (echoes bool, err error) {
	from := func(etag string) send {
		return func(ctx context.Context, commit string, c Condition) (made, error) {
			src := Object{Key: p.key, ETag: etag}
			return p.b.sendCopy(ctx, src, optional(src.ETag), p.key, heritage{}.header(commit), c)
		}
	}
	if caps.CopyIfMatch, err = p.honours(ctx, opCopy, from(wrongETag), Condition{}); err != nil {
		return false, err
	}
	if caps.CopyToAbsent, err = p.honours(ctx, opCopy, from(""), Condition{IfAbsent: true}); err != nil {
		return false, err
	}
	if caps.CopyToMatch, err = p.honours(ctx, opCopy, from(""), Condition{IfMatch: wrongETag}); err != nil {
		return false, err
	}
	return p.echoes(ctx, opCopy, from(""))
}

// echoes reports whether one way of creating answers with a proof.
func (p *probe) echoes(ctx context.Context, op string, by send) (bool, error) {
	m, err := p.make(ctx, op, by, Condition{})
	if err != nil {
		return false, p.refused(ctx, op+" the object", err)
	}
	if m.proof.silent() {
		return false, nil
	}
	if fault := p.b.expectation().fault(m.proof); fault != "" {
		return false, p.unproven(fault)
	}
	return true, nil
}

// completes tries CompleteMultipartUpload and reports whether its answers
// prove encryption.
func (p *probe) completes(ctx context.Context, caps *Capabilities) (echoes bool, err error) {
	if caps.CompleteIfAbsent, err = p.honours(ctx, opComplete, p.complete, Condition{IfAbsent: true}); err != nil {
		return false, err
	}
	if caps.CompleteIfMatch, err = p.honours(ctx, opComplete, p.complete, Condition{IfMatch: wrongETag}); err != nil {
		return false, err
	}
	return p.echoes(ctx, opComplete, p.complete)
}

// complete makes the object by an upload of its own, which it drops where the
// server does not.
func (p *probe) complete(ctx context.Context, _ string, c Condition) (m made, err error) {
	u, _, err := p.b.sendCreate(ctx, p.key, heritage{}, false)
	if err != nil {
		return made{}, err
	}
	if err := p.b.journal.begin(p.key, u.id); err != nil {
		return made{}, err
	}
	defer func() {
		if gone := p.b.abortUpload(ctx, u); gone != nil && err != nil {
			err = errors.Join(err, gone)
		}
	}()
	content := []byte(probeText)
	size := int64(len(content))
	one, err := p.b.uploadPart(ctx, u, 1, bytes.NewReader(content), size)
	if err != nil {
		return made{}, err
	}
	return p.b.sendComplete(ctx, u, []part{one}, size, c)
}

// deletes removes the object under a condition that is not met, and reports
// whether the server refuses that.
func (p *probe) deletes(ctx context.Context) (bool, error) {
	out, err := p.b.s3.DeleteObject(ctx, &s3.DeleteObjectInput{
		Bucket: &p.b.opts.Bucket, Key: aws.String(p.b.full(p.key)), IfMatch: aws.String(wrongETag),
	})
	switch {
	case err == nil:
		p.versions = append(p.versions, aws.ToString(out.VersionId))
		return false, nil
	case status(err) == http.StatusPreconditionFailed:
		return true, nil
	case fateOf(err) == refused && KindOf(classify(ctx, "probe", p.key, err)) != Permission:
		return false, nil
	}
	return false, p.refused(ctx, "delete the object", err)
}

// dropUploads aborts uploads whose answers were lost. The key is the probe's
// alone, so they are its own. Whether it may list them is chance.
func (p *probe) dropUploads(ctx context.Context) {
	ctx, deadline := p.b.reading(context.WithoutCancel(ctx))
	defer deadline.stop()
	full := p.b.full(p.key)
	all, err := p.b.s3.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &p.b.opts.Bucket, Prefix: &full}, few)
	if err != nil {
		return
	}
	for _, u := range all.Uploads {
		if err := p.b.abortUpload(ctx, upload{key: p.key, id: aws.ToString(u.UploadId)}); err != nil {
			p.b.warn(fmt.Sprintf("an upload of the probe could not be aborted: %v", err))
		}
	}
}

// clean removes every version of the object, delete markers too: those that
// the server lists, for answers may have been lost, and those that it named.
func (p *probe) clean(ctx context.Context) error {
	ctx, deadline := p.b.reading(context.WithoutCancel(ctx))
	defer deadline.stop()
	full := p.b.full(p.key)
	versions := slices.DeleteFunc(p.versions, func(v string) bool { return v == "" })
	all, err := p.b.s3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &p.b.opts.Bucket, Prefix: &full}, few)
	if err == nil {
		for _, v := range all.Versions {
			versions = append(versions, aws.ToString(v.VersionId))
		}
		for _, v := range all.DeleteMarkers {
			versions = append(versions, aws.ToString(v.VersionId))
		}
	} else if len(versions) == 0 {
		versions = []string{""} // a server without versions
	}
	slices.Sort(versions)
	var errs []error
	for _, v := range slices.Compact(versions) {
		errs = append(errs, p.b.deleteVersion(ctx, p.key, v))
	}
	return errors.Join(errs...)
}
