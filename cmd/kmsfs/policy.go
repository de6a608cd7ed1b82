package main

import (
	"cmp"
	"strings"

	"github.com/kmsfs/kmsfs/s3io"
)

// iamPolicy is a policy document of IAM or KMS
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
type iamPolicy struct {
	Version   string         `json:"Version"`
	Statement []iamStatement `json:"Statement"`
}

type iamStatement struct {
	Sid       string                         `json:"Sid"`
	Effect    string                         `json:"Effect"`
	Principal map[string]string              `json:"Principal,omitempty"`
	Action    []string                       `json:"Action"`
	Resource  string                         `json:"Resource"`
	Condition map[string]map[string][]string `json:"Condition,omitempty"`
}

// leastPolicies returns what a mount of c needs: the policy of its user or
// role and, for a customer's keys, what their policies must grant. key is that
// of S3's encryption, sealed are those of envelope mode. What a read-only or a
// write-only mount does not need is left out.
func leastPolicies(c *config, key string, sealed []string, versioned bool) (user, ofKey *iamPolicy) {
	bucket := c.source.bucket
	if !strings.HasPrefix(bucket, "arn:") {
		bucket = "arn:" + partition(cmp.Or(key, strings.Join(sealed[:min(1, len(sealed))], ""))) + ":s3:::" + bucket
	}
	objects := bucket + "/" + c.s3.Prefix + "*"
	if strings.HasPrefix(c.source.bucket, "arn:") { // of an access point
		objects = bucket + "/object/" + c.s3.Prefix + "*"
	}
	onBucket := []string{"s3:ListBucket"}
	onObjects := []string{"s3:GetObject", "s3:GetObjectVersion"}
	onKey := []string{"kms:Decrypt"}
	if !c.s3.ReadOnly {
		onBucket = append(onBucket, "s3:ListBucketMultipartUploads", "s3:GetBucketVersioning", "s3:GetBucketOwnershipControls")
		onObjects = append(onObjects, "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
			"s3:GetObjectTagging", "s3:PutObjectTagging")
		if versioned {
			onObjects = append(onObjects, "s3:DeleteObjectVersion", "s3:GetObjectVersionTagging")
		}
		onKey = append(onKey, "kms:GenerateDataKey")
	}
	if c.sse() == s3io.ModeBucketDefault {
		onBucket = append(onBucket, "s3:GetEncryptionConfiguration")
	}
	list := iamStatement{Sid: "KmsfsBucket", Effect: "Allow", Action: onBucket, Resource: bucket}
	user = &iamPolicy{Version: "2012-10-17", Statement: []iamStatement{list,
		{Sid: "KmsfsObjects", Effect: "Allow", Action: onObjects, Resource: objects}}}
	onKeys := append(append(throughS3(c, key, onKey), allowedThroughS3(c)...), sealStatements(c, sealed, bucket)...)
	if len(onKeys) == 0 {
		return user, nil
	}
	user.Statement = append(user.Statement, onKeys...)
	ofKey = &iamPolicy{Version: user.Version}
	for _, s := range onKeys {
		s.Principal = map[string]string{"AWS": "REPLACE WITH THE ARN OF THE USER OR ROLE THAT MOUNTS"}
		s.Resource = "*" // in a key's policy, the key
		ofKey.Statement = append(ofKey.Statement, s)
	}
	return user, ofKey
}

// throughS3 returns what S3 needs to be allowed of its KMS key on behalf of the
// mount.
func throughS3(c *config, key string, actions []string) []iamStatement {
	if c.s3.Policy.Mode == s3io.ModeS3 || c.s3.Policy.Mode == s3io.ModeNone || key == "" {
		return nil
	}
	condition := map[string]map[string][]string{"StringLike": {"kms:ViaService": {"s3.*." + domain(key)}}}
	if region := regionOf(key); region != "" {
		condition = map[string]map[string][]string{"StringEquals": {"kms:ViaService": {"s3." + region + "." + domain(key)}}}
	}
	return []iamStatement{
		{Sid: "KmsfsKeyThroughS3", Effect: "Allow", Action: actions, Resource: keyResource(key), Condition: condition},
		{Sid: "KmsfsDescribeKey", Effect: "Allow", Action: []string{"kms:DescribeKey"}, Resource: keyResource(key)},
	}
}

// keyResource returns an ARN that names key; an alias cannot be a resource.
func keyResource(key string) string {
	if strings.HasPrefix(key, "arn:") && !strings.Contains(key, ":alias/") {
		return key
	}
	if strings.Contains(key, "alias/") {
		return "REPLACE WITH THE ARN OF " + key
	}
	return "arn:aws:kms:*:*:key/" + key
}

// arnField returns one colon-separated field of an ARN, "" for what is none.
func arnField(arn string, n int) string {
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) < 6 || fields[0] != "arn" {
		return ""
	}
	return fields[n]
}

// partition returns the partition of a key's ARN: aws, aws-cn, aws-us-gov, ...
func partition(key string) string {
	if p := arnField(key, 1); p != "" {
		return p
	}
	return "aws"
}

// domain returns the domain of AWS's services where the key is.
func domain(key string) string {
	if partition(key) == "aws-cn" {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// regionOf returns the region of a key's ARN.
func regionOf(key string) string { return arnField(key, 3) }
