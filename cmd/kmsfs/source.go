package main

import (
	"fmt"
	"strings"
)

// source is what an s3:// URL names.
type source struct {
	bucket string // name, or ARN of an access point
	key    string // prefix or key, as given; "" is the whole bucket
}

// parseSource takes s3://BUCKET[/PREFIX] apart. The bucket may be the ARN of
// an access point, which has a slash of its own
// (arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME).
func parseSource(url string) (source, error) {
	rest, ok := strings.CutPrefix(url, "s3://")
	if !ok {
		return source{}, fmt.Errorf("%q names no bucket; write it as s3://BUCKET or s3://BUCKET/PREFIX", url)
	}
	bucket, key, _ := strings.Cut(rest, "/")
	if strings.HasPrefix(bucket, "arn:") {
		name, inner, _ := strings.Cut(key, "/")
		bucket, key = bucket+"/"+name, inner
	}
	if bucket == "" || strings.ContainsAny(bucket, " ?#") {
		return source{}, fmt.Errorf("%q names no bucket; write it as s3://BUCKET or s3://BUCKET/PREFIX", url)
	}
	return source{bucket: bucket, key: key}, nil
}

// prefix returns the key prefix that becomes the root of a mount.
func (s source) prefix() string {
	if s.key == "" || strings.HasSuffix(s.key, "/") {
		return s.key
	}
	return s.key + "/"
}

// String returns the URL.
func (s source) String() string {
	if s.key == "" {
		return "s3://" + s.bucket
	}
	return "s3://" + s.bucket + "/" + s.key
}
