package main

import (
	"fmt"
	"strings"
)

// sealStatements returns what envelope mode needs of its KMS keys, for objects
// that are bound to the buckets of c alone.
func sealStatements(c *config, keys []string, bucket string) []iamStatement {
	e := c.s3.Envelope
	if e == nil {
		return nil
	}
	bound := append([]string{e.ContextBucket}, e.AcceptContextBuckets...)
	if e.ContextBucket == "" {
		bound[0] = bucket
	}
	var contexts []string
	for _, b := range bound {
		if !strings.HasPrefix(b, "arn:") {
			b = "arn:" + partition(keys[0]) + ":s3:::" + b
		}
		contexts = append(contexts, b, b+"/*") // bound to the bucket, or to an object in it
	}
	condition := map[string]map[string][]string{"StringLike": {"kms:EncryptionContext:aws:s3:arn": contexts}}
	var list []iamStatement
	for i, key := range append(keys[:len(keys):len(keys)], e.AllowKeyIDs...) {
		number := "" // tells the statements of several keys apart
		if i > 0 {
			number = fmt.Sprint(i + 1)
		}
		if actions := c.keyActions(i, len(keys)); len(actions) > 0 {
			list = append(list, iamStatement{Sid: "KmsfsEnvelopeKey" + number, Effect: "Allow",
				Action: actions, Resource: keyResource(key), Condition: condition})
		}
		list = append(list, iamStatement{Sid: "KmsfsDescribeEnvelopeKey" + number, Effect: "Allow",
			Action: []string{"kms:DescribeKey"}, Resource: keyResource(key)})
	}
	return list
}

// keyActions returns what envelope mode asks of its i-th key, of which the
// first sealed are those that content is sealed under.
func (c *config) keyActions(i, sealed int) (actions []string) {
	switch {
	case c.s3.ReadOnly || i >= sealed:
	case i == 0:
		actions = append(actions, "kms:GenerateDataKey")
	default:
		actions = append(actions, "kms:Encrypt")
	}
	if !c.s3.Envelope.WriteOnly {
		actions = append(actions, "kms:Decrypt")
	}
	return actions
}
