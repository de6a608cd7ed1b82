package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/kmsfs/kmsfs/s3io"
)

// stsLimit bounds the question who we are: it is a nicety.
const stsLimit = 10 * time.Second

// credentialsCheck says where the SDK found credentials and, at AWS, whose
// they are.
func credentialsCheck(ctx context.Context, c *config) check {
	found := check{Name: "credentials", State: stateOK}
	loaded, err := s3io.Configuration(ctx, c.s3)
	var credentials aws.Credentials
	if err == nil {
		credentials, err = loaded.Credentials.Retrieve(ctx)
	}
	if err != nil {
		found.fail(fmt.Sprintf("none were found: %v", err),
			"set AWS_PROFILE or --profile, run aws sso login, or give the machine a role")
		return found
	}
	found.Detail = fmt.Sprintf("access key %s from %s", credentials.AccessKeyID, credentials.Source)
	if c.s3.Endpoint == "" && loaded.BaseEndpoint == nil {
		if loaded.Region == "" {
			loaded.Region = "us-east-1"
		}
		ctx, cancel := context.WithTimeout(ctx, stsLimit)
		defer cancel()
		if who, err := sts.NewFromConfig(loaded).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}); err == nil {
			found.Detail += ", principal " + aws.ToString(who.Arn)
		}
	}
	return found
}
