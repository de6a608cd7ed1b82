package s3io

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kmsfs/kmsfs/crypto"
)

// heritage is what a new object stores beside its content: what the caller
// says, and what it takes over from the object whose place it takes.
type heritage struct {
	meta    map[string]string
	headers Headers
	class   string
	tags    string // URL-encoded pairs; "" where the server copies them itself
	lock    Lock
	grants  map[string]string // header to grantees
	commit  string            // id of the request; "" is a random one

	op, key string // for errors
	form    Form
	sealed  *crypto.Header // of the message; for a marker that of its xattrs; nil is none
	bare    bool           // sealed is not in the metadata, which has no room for it
	xattrs  string         // sealed extended attributes as stored
	spliced int64          // frames that splices replaced
}

// maxMeta is what S3 takes of names and values of user metadata, in bytes.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
const maxMeta = 2048

// inherit completes what a says by what base has. tagged says that tags must
// be applied by hand, because the request makes a new object.
func (b *Bucket) inherit(ctx context.Context, op, key string, a Attrs, base *Object, tagged bool) (heritage, error) {
	h := heritage{meta: a.Meta, headers: a.Headers, class: b.opts.StorageClass, commit: a.commit, op: op, key: key}
	if b.sealing() && a.Xattrs != nil {
		h.meta = withPlainXattrs(h.meta, nil) // as a mount without Envelope left them
	}
	if err := h.fit(); err != nil {
		return h, err
	}
	if base == nil {
		return h, nil
	}
	if h.headers == (Headers{}) {
		h.headers = base.Headers
	}
	h.class, h.lock = base.StorageClass, base.Lock
	var err error
	if tagged {
		if h.tags, err = b.tagsOf(ctx, *base); err != nil {
			return h, err
		}
	}
	h.grants = b.grantsOf(ctx, *base)
	return h, nil
}

// known returns o with everything that HEAD tells, if it is still that object.
func (b *Bucket) known(ctx context.Context, o Object) (Object, error) {
	if o.Head {
		return o, nil
	}
	now, err := b.stat(ctx, o.Key, o.VersionID)
	if err == nil && o.ETag != "" && now.ETag != o.ETag {
		err = changed("head", o.Key)
	}
	return now, err
}

// tagsOf returns o's tags as x-amz-tagging wants them. Not to know them is an
// error, for else they would be stripped.
func (b *Bucket) tagsOf(ctx context.Context, o Object) (string, error) {
	out, err := b.s3.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{
		Bucket: &b.opts.Bucket, Key: aws.String(b.full(o.Key)), VersionId: optional(o.VersionID),
	})
	if err != nil {
		var e *Error
		if err = classify(ctx, "read tags of", o.Key, err); errors.As(err, &e) {
			switch e.Kind {
			case Unsupported:
				return "", nil // a server without tags
			case Permission:
				e.Hint = "carrying over the tags needs s3:GetObjectTagging and s3:PutObjectTagging"
			}
		}
		return "", err
	}
	pairs := url.Values{}
	for _, t := range out.TagSet {
		pairs.Add(aws.ToString(t.Key), aws.ToString(t.Value))
	}
	return pairs.Encode(), nil
}

// grantsOf returns the ACL of o as headers, as far as it can be read and the
// bucket has ACLs at all. The owner's own right is there anyway.
func (b *Bucket) grantsOf(ctx context.Context, o Object) map[string]string {
	b.mu.Lock()
	acls := b.acls
	b.mu.Unlock()
	if !acls {
		return nil
	}
	out, err := b.s3.GetObjectAcl(ctx, &s3.GetObjectAclInput{
		Bucket: &b.opts.Bucket, Key: aws.String(b.full(o.Key)), VersionId: optional(o.VersionID),
	})
	if err != nil || out.Owner == nil {
		return nil
	}
	owner, foreign := aws.ToString(out.Owner.ID), false
	grants := map[string]string{}
	for _, g := range out.Grants {
		if g.Grantee == nil || grantHeader(g.Permission) == "" {
			continue
		}
		foreign = foreign || aws.ToString(g.Grantee.ID) != owner
		who := fmt.Sprintf("id=%q", aws.ToString(g.Grantee.ID))
		if uri := aws.ToString(g.Grantee.URI); uri != "" {
			who = fmt.Sprintf("uri=%q", uri)
		}
		if list := grants[grantHeader(g.Permission)]; list != "" {
			who = list + ", " + who
		}
		grants[grantHeader(g.Permission)] = who
	}
	if !foreign {
		return nil
	}
	return grants
}

func grantHeader(p types.Permission) string {
	switch p {
	case types.PermissionFullControl:
		return "X-Amz-Grant-Full-Control"
	case types.PermissionRead:
		return "X-Amz-Grant-Read"
	case types.PermissionReadAcp:
		return "X-Amz-Grant-Read-Acp"
	case types.PermissionWriteAcp:
		return "X-Amz-Grant-Write-Acp"
	}
	return ""
}

// commitID returns the id of a creating request.
func (h heritage) commitID() string {
	if h.commit != "" {
		return h.commit
	}
	return newCommitID()
}

// header returns h as HTTP headers of a creating request of commit.
func (h heritage) header(commit string) http.Header {
	out := http.Header{}
	set := func(name, value string) {
		if value != "" {
			out.Set(name, value)
		}
	}
	set("Content-Type", h.headers.ContentType)
	set("Content-Encoding", h.headers.ContentEncoding)
	set("Content-Language", h.headers.ContentLanguage)
	set("Content-Disposition", h.headers.ContentDisposition)
	set("Cache-Control", h.headers.CacheControl)
	set("Expires", h.headers.Expires)
	set("X-Amz-Website-Redirect-Location", h.headers.WebsiteRedirect)
	set("X-Amz-Storage-Class", h.class)
	set("X-Amz-Tagging", h.tags)
	if h.lock.Mode != "" {
		set("X-Amz-Object-Lock-Mode", h.lock.Mode)
		set("X-Amz-Object-Lock-Retain-Until-Date", h.lock.Until.UTC().Format(time.RFC3339))
	}
	if h.lock.LegalHold {
		set("X-Amz-Object-Lock-Legal-Hold", string(types.ObjectLockLegalHoldStatusOn))
	}
	for name, who := range h.grants {
		set(name, who)
	}
	for _, pairs := range []map[string]string{h.meta, h.own()} {
		for name, value := range pairs {
			out.Set("X-Amz-Meta-"+name, value)
		}
	}
	out.Set(headerCommit, commit)
	return out
}

// with adds the headers to a request before it is signed.
func with(h http.Header) func(*s3.Options) {
	return func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Build.Add(middleware.BuildMiddlewareFunc("kmsfsAttributes", func(
				ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler,
			) (middleware.BuildOutput, middleware.Metadata, error) {
				if req, ok := in.Request.(*smithyhttp.Request); ok {
					maps.Copy(req.Header, h)
				}
				return next.HandleBuild(ctx, in)
			}), middleware.After)
		})
	}
}

// filled returns o, an object of so many stored bytes, with what was stored
// beside its content.
func (h heritage) filled(o Object, stored int64) Object {
	o.Form, o.Stored, o.Size = h.form, stored, stored
	if h.form == Sealed {
		o.Size, _ = crypto.PlainSize(stored)
	}
	o.Head, o.Meta = true, maps.Clone(h.meta)
	o.Headers, o.Lock, o.StorageClass = h.headers, h.lock, h.class
	o.Header, o.Xattrs, o.Spliced = h.sealed, h.xattrs, h.spliced
	return o
}
