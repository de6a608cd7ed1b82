package kms

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A policy is a key policy:
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
type policy struct {
	Statement []statement
}

type statement struct {
	Effect    string
	Principal principals
	Action    oneOrMore
	Condition json.RawMessage
}

// principals are the AWS principals of a statement; "*" stands for all.
type principals []string

// oneOrMore is a string or an array of strings.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(o))
}

func (p *principals) UnmarshalJSON(text []byte) error {
	var any string
	if json.Unmarshal(text, &any) == nil {
		*p = principals{any}
		return nil
	}
	var kinds map[string]oneOrMore
	if err := json.Unmarshal(text, &kinds); err != nil {
		return err
	}
	*p = principals(kinds["AWS"]) // services and federated users never call the sandbox
	return nil
}

// parsePolicy reads a policy and refuses what would not be honoured.
func parsePolicy(text string) (policy, error) {
	var p policy
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return p, fmt.Errorf("policy is not JSON as expected: %w", err)
	}
	if len(p.Statement) == 0 {
		return p, fmt.Errorf("policy has no statement")
	}
	for i, s := range p.Statement {
		switch {
		case s.Effect != "Allow" && s.Effect != "Deny":
			return p, fmt.Errorf("statement %d: effect is neither Allow nor Deny", i)
		case len(s.Action) == 0:
			return p, fmt.Errorf("statement %d: no action", i)
		case len(s.Condition) > 0 && string(s.Condition) != "{}":
			return p, fmt.Errorf("statement %d: this sandbox evaluates no conditions", i)
		}
	}
	return p, nil
}

// defaultPolicy leaves all rights to the account, as CreateKey does where no policy is given.
func defaultPolicy(account string) string {
	return `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::` + account + `:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`
}

// managedPolicy is that of alias/aws/s3 for direct calls: metadata only. What S3 asks for goes past it.
func managedPolicy(account string) string {
	p := strings.Replace(defaultPolicy(account), `"kms:*"`, `[ "kms:Describe*", "kms:Get*", "kms:List*" ]`, 1)
	return strings.Replace(p, "Enable IAM User Permissions", "Allow direct access to key metadata to the account", 1)
}

// allows reports whether the policy lets principal do action: a Deny beats every Allow.
func (p policy) allows(principal, action string) bool {
	allowed := false
	for _, s := range p.Statement {
		if !s.Principal.cover(principal) || !slices.ContainsFunc(s.Action, func(a string) bool { return matches(a, action) }) {
			continue
		}
		if s.Effect == "Deny" {
			return false
		}
		allowed = true
	}
	return allowed
}

// cover reports whether the principal is named, by ARN or by its account.
func (p principals) cover(principal string) bool {
	account := accountOf(principal)
	return slices.ContainsFunc(p, func(named string) bool {
		return named == "*" || named == principal || named == account || named == "arn:aws:iam::"+account+":root"
	})
}

// matches compares an action with a pattern that may end in "*".
func matches(pattern, action string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(action, prefix)
	}
	return pattern == action
}

// accountOf returns the account of a principal's ARN, or "".
func accountOf(arn string) string { return field(arn, 4) }
