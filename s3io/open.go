package s3io

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// CopyObject takes sources of up to 5 GiB; parts of a larger copy are fewer
// and slower the larger they are.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/copy-object.html
const (
	copyLimit    = 5 << 30
	copyPartSize = 512 << 20
)

// Open loads the configuration, checks o, finds the bucket and its region, and
// resolves the KMS key. It sends nothing that creates, changes or deletes.
func Open(ctx context.Context, o Options) (*Bucket, error) {
	o, policy, err := validate(o)
	if err != nil {
		return nil, err
	}
	b := newBucket(o, policy)
	if err := b.connect(ctx); err != nil {
		b.cancel()
		return nil, err
	}
	if err := b.equip(); err != nil {
		return nil, errors.Join(err, b.Close(ctx))
	}
	return b, nil
}

// equip opens what belongs to this machine: journal, spool, memory.
func (b *Bucket) equip() (err error) {
	if b.journal, err = openJournal(b.opts.StateDir, b.opts.Bucket, b.opts.Prefix); err != nil {
		return &Error{Kind: Misconfigured, Op: "open upload journal", Err: err, Hint: "check --state-dir"}
	}
	b.onClose(func(context.Context) error { return b.journal.close() })
	if b.writes, err = newWrites(b.opts); err != nil {
		return err
	}
	b.onClose(b.writes.close)
	b.readers = newReadPool(b.opts)
	b.onClose(func(context.Context) error { b.readers.mem.close(); return nil })
	return nil
}

func newBucket(o Options, p Policy) *Bucket {
	b := &Bucket{opts: o, policy: p, log: o.Log, copyLimit: copyLimit, partCopy: copyPartSize}
	b.lookup, b.commit = scale(o.LookupTimeout, o.TimeoutScale), scale(o.CommitTimeout, o.TimeoutScale)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// connect does what Open asks of the network.
func (b *Bucket) connect(ctx context.Context) error {
	ctx, deadline := b.reading(ctx)
	defer deadline.stop()
	cfg, err := loadConfig(ctx, b.opts)
	if err != nil {
		return err
	}
	if cfg.Region == "" {
		cfg.Region = discoveryRegion
		if b.region, err = b.locate(ctx, b.client(cfg)); err != nil {
			return err
		}
		cfg.Region = b.region
	}
	b.region = cfg.Region
	b.s3 = b.client(cfg)
	endpoint := aws.ToString(b.s3.Options().BaseEndpoint)
	if err := checkEndpoint("S3", endpoint, "--endpoint-url", b.opts.InsecureHTTP); err != nil {
		return err
	}
	b.genuine, b.private = amazon(endpoint), private(endpoint)
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return classify(ctx, "find credentials", "", err)
	}
	if err := b.meet(ctx); err != nil {
		return err
	}
	if err := b.resolve(ctx, cfg); err != nil {
		return err
	}
	if err := b.resolveAllowed(ctx, cfg); err != nil {
		return err
	}
	return b.openKeyring(ctx, cfg)
}

// locate asks a client of any region for the bucket's own.
func (b *Bucket) locate(ctx context.Context, client *s3.Client) (string, error) {
	endpoint := aws.ToString(client.Options().BaseEndpoint)
	if err := checkEndpoint("S3", endpoint, "--endpoint-url", b.opts.InsecureHTTP); err != nil {
		return "", err
	}
	region, err := bucketRegion(ctx, client, b.opts.Bucket)
	switch {
	case region != "":
		return region, nil // also from refusals: 301 and 403 name it
	case err != nil:
		return "", b.unmet(ctx, err)
	}
	return discoveryRegion, nil // a server without regions
}

// meet asks for the bucket where the configuration says it is.
func (b *Bucket) meet(ctx context.Context) error {
	region, err := bucketRegion(ctx, b.s3, b.opts.Bucket)
	if region != "" && region != b.region {
		return &Error{Kind: Misconfigured, Op: "open bucket " + b.opts.Bucket,
			Err:  fmt.Errorf("it is in region %s, not %s", region, b.region),
			Hint: "use --region " + region + ", or leave the region out"}
	}
	if err != nil {
		return b.unmet(ctx, err)
	}
	return nil
}

// bucketRegion returns x-amz-bucket-region, which refusals carry as well.
func bucketRegion(ctx context.Context, client *s3.Client, bucket string) (string, error) {
	out, err := client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket}, few)
	if err == nil {
		return aws.ToString(out.BucketRegion), nil
	}
	if r := redirected(err); r != nil {
		return r.region, err
	}
	var resp *awshttp.ResponseError
	if errors.As(err, &resp) && resp.Response != nil {
		return resp.Response.Header.Get("X-Amz-Bucket-Region"), err
	}
	return "", err
}

// unmet says why the bucket cannot be opened, with the remedy.
func (b *Bucket) unmet(ctx context.Context, err error) error {
	kind, hint := kindOf(ctx, err)
	if hint == "" {
		switch kind {
		case NotExist:
			hint = "check the name, or create the bucket first"
		case Permission:
			hint = "the credentials need s3:ListBucket on the bucket; check --profile and --expected-bucket-owner too"
		case Misconfigured:
			hint = "check --region"
		case Other, Timeout:
			hint = "check the network and --endpoint-url"
		}
	}
	return &Error{Kind: kind, Op: "open bucket " + b.opts.Bucket, Hint: hint, Err: plain(ctx, err)}
}

// validate fills in o's defaults and refuses what cannot work.
func validate(o Options) (Options, Policy, error) {
	if o.Envelope != nil {
		o.Policy = o.Policy.underEnvelope()
	}
	p, err := o.Policy.normal()
	switch {
	case err != nil:
		return o, p, err
	case o.Bucket == "":
		return o, p, misuse("no bucket was named", "name it as s3://BUCKET[/PREFIX]")
	case directoryBucket(o.Bucket):
		return o, p, misuse(fmt.Sprintf("%s is a directory bucket", o.Bucket),
			"kmsfs needs a general purpose bucket: directory buckets have neither versions nor full conditions, and SSE-KMS only as their default")
	case !bucketName(o.Bucket):
		return o, p, misuse(fmt.Sprintf("%q is no name of a bucket", o.Bucket), "name it as s3://BUCKET[/PREFIX], or by the ARN of an access point")
	case o.Prefix != "" && !strings.HasSuffix(o.Prefix, "/"):
		return o, p, misuse(fmt.Sprintf("prefix %q does not end in a slash", o.Prefix), "add it")
	case o.TimeoutScale < 0:
		return o, p, misuse("the timeout is negative", "check --timeout")
	case o.PartSize != 0 && (o.PartSize < minPart || o.PartSize > maxPart):
		return o, p, misuse(fmt.Sprintf("part size %d is out of range", o.PartSize), "--part-size takes 5MiB to 5GiB, or auto")
	case o.MaxConnections < 0 || o.Memory < 0 || o.SpoolSize < 0:
		return o, p, misuse("a resource limit is negative", "check --max-connections, --memory and --spool-size")
	}
	if err := checkEndpoint("KMS", o.KMSEndpoint, "--kms-endpoint-url", o.InsecureHTTP); err != nil {
		return o, p, err
	}
	if err := o.Envelope.validate(o); err != nil {
		return o, p, err
	}
	fill(&o)
	return o, p, nil
}

// scale returns a deadline as the user's --timeout stretches it.
func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }

func fill(o *Options) {
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = DefaultConnections
	}
	if o.SpoolSize == 0 {
		o.SpoolSize = DefaultSpoolSize
	}
	if o.TimeoutScale == 0 {
		o.TimeoutScale = 1
	}
	if o.LookupTimeout == 0 {
		o.LookupTimeout = lookupTimeout
	}
	if o.CommitTimeout == 0 {
		o.CommitTimeout = commitTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
}

// bucketName reports whether name has the form of a bucket's name, or of an
// ARN: it becomes part of host names and paths, and must be able to change
// neither.
func bucketName(name string) bool {
	isARN := strings.HasPrefix(name, "arn:")
	odd := func(c rune) bool {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		return !letter && !strings.ContainsRune("._-", c) && !(isARN && (c == ':' || c == '/'))
	}
	return !strings.ContainsFunc(name, odd) && !strings.Contains(name, "..") && name != "."
}

// directoryBucket knows S3 Express by its reserved suffixes and its ARNs.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/directory-bucket-naming-rules.html
func directoryBucket(name string) bool {
	return strings.HasSuffix(name, "--x-s3") || strings.HasSuffix(name, "--xa-s3") || strings.HasPrefix(name, "arn:aws:s3express:")
}
