package crypto

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// idForms tells the user how a key may be named.
const idForms = "give a key id, a key ARN (arn:aws:kms:REGION:ACCOUNT:key/ID), alias/NAME, or an alias ARN"

// checkID refuses ids that no KMS can know, before anything is sent: an ARN of
// another region would only be answered "not found".
func checkID(id, region string) error {
	malformed := func(detail string) error {
		return &KeyError{ID: id, Reason: Malformed, Detail: detail, Remedy: idForms}
	}
	name := id
	if strings.HasPrefix(id, "arn:") {
		a, err := arn.Parse(id)
		if err != nil || a.Service != "kms" || a.Region == "" || a.AccountID == "" {
			return malformed("is not the ARN of a KMS key")
		}
		for _, c := range a.Partition + a.Region + a.AccountID { // the region becomes part of a host name
			if !keyIDChar(c) {
				return malformed(fmt.Sprintf("contains %q", c))
			}
		}
		if region != "" && a.Region != region {
			return wrongRegion(id, a.Region, region)
		}
		name = a.Resource
		if key, ok := strings.CutPrefix(name, "key/"); ok {
			name = key
		} else if !strings.HasPrefix(name, "alias/") {
			return malformed("is an ARN, but neither of a key nor of an alias")
		}
	}
	alias, isAlias := strings.CutPrefix(name, "alias/")
	if isAlias {
		name = alias
	}
	if name == "" {
		return malformed("names no key")
	}
	for _, c := range name {
		if !keyIDChar(c) && !(isAlias && (c == '/' || c == '_')) {
			return malformed(fmt.Sprintf("contains %q", c))
		}
	}
	return nil
}

func keyIDChar(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-'
}

func isAlias(id string) bool {
	return strings.HasPrefix(id, "alias/") || strings.HasPrefix(id, "arn:") && strings.Contains(id, ":alias/")
}

// aliasHint helps who wrote an alias's name without "alias/": key ids are
// UUIDs, or "mrk-" and 32 hexadecimal digits.
func aliasHint(id string) string {
	if strings.HasPrefix(id, "arn:") || strings.HasPrefix(id, "mrk-") || strings.Count(id, "-") == 4 && len(id) == 36 {
		return ""
	}
	return fmt.Sprintf("; an alias is written alias/%s", id)
}

func wrongRegion(id, is, want string) error {
	remedy := "S3 takes only keys of the bucket's own region: choose one in " + want
	if strings.Contains(id, "/mrk-") || strings.HasPrefix(id, "mrk-") {
		remedy += ", such as a replica of this multi-region key"
	}
	return &KeyError{ID: id, Reason: WrongRegion, Detail: fmt.Sprintf("is in region %s, not %s", is, want), Remedy: remedy}
}

// checkKeyARN refuses what is not the ARN of a KMS key: an alias can be moved.
func checkKeyARN(id string) error {
	if err := checkID(id, ""); err != nil {
		return err
	}
	if a, err := arn.Parse(id); err != nil || !strings.HasPrefix(a.Resource, "key/") {
		return &KeyError{ID: id, Reason: Malformed, Detail: "is not the ARN of a key", Remedy: "give its ARN, arn:aws:kms:REGION:ACCOUNT:key/ID"}
	}
	return nil
}

// sameKey reports whether two ARNs are those of one KMS key: equal, or of
// replicas of a multi-region key, which differ in their region only.
// https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html
func sameKey(a, b string) bool {
	if a == b {
		return true
	}
	x, err := arn.Parse(a)
	if err != nil || !strings.HasPrefix(x.Resource, "key/mrk-") {
		return false
	}
	y, err := arn.Parse(b)
	x.Region = y.Region
	return err == nil && x == y
}
