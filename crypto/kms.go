package crypto

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// KMS is what a Keyring asks; *kms.Client has it.
type KMS interface {
	Describer
	GenerateDataKey(context.Context, *kms.GenerateDataKeyInput, ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error)
	Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error)
	Encrypt(context.Context, *kms.EncryptInput, ...func(*kms.Options)) (*kms.EncryptOutput, error)
	ReEncrypt(context.Context, *kms.ReEncryptInput, ...func(*kms.Options)) (*kms.ReEncryptOutput, error)
}

var _ KMS = (*kms.Client)(nil)

// callTimeout bounds one request with all the client's attempts: longer than
// the outages that are to be survived, which a client that retries needs.
const callTimeout = 80 * time.Second

// Operations of KMS, as statistics and permissions name them.
const (
	opGenerate  = "GenerateDataKey"
	opEncrypt   = "Encrypt"
	opDecrypt   = "Decrypt"
	opReEncrypt = "ReEncrypt"
)

// ask makes one request about the KMS key arn, in its region, and says how it
// failed.
func ask[In, Out any](ctx context.Context, k *Keyring, op, arn string,
	method func(KMS, context.Context, *In, ...func(*kms.Options)) (*Out, error), in *In) (*Out, error) {
	call, cancel := k.bounded(ctx)
	defer cancel()
	out, err := method(k.kms(keyRegion(arn)), call, in)
	if err != nil {
		err = requestError(op, arn, err)
	}
	k.note(op, arn, err, ctx.Err() == nil && k.ctx.Err() == nil)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// bounded returns a context that ends with ctx, with the Keyring, or when a
// request has taken too long.
func (k *Keyring) bounded(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	stop := context.AfterFunc(k.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// generate has KMS make a data key under the first key, and wrap it under all
// the others. The caller releases the result's key.
func (k *Keyring) generate(ctx context.Context, pairs map[string]string) (*writeKey, error) {
	arn := k.o.Keys[0].ARN
	w := &writeKey{pairs: pairs, born: k.now(), share: refreshShare()}
	out, err := ask(ctx, k, opGenerate, arn, KMS.GenerateDataKey, &kms.GenerateDataKeyInput{
		KeyId: aws.String(arn), KeySpec: types.DataKeySpecAes256, EncryptionContext: pairs, GrantTokens: k.o.GrantTokens})
	if err != nil {
		return nil, err
	}
	if w.key, err = k.keep(out.Plaintext, out.KeyId, arn); err != nil {
		return nil, err
	}
	w.edks = []EDK{{Provider: providerKMS, Info: arn, Blob: out.CiphertextBlob}}
	for _, other := range k.o.Keys[1:] {
		e, err := k.encrypt(ctx, other.ARN, w.key, pairs)
		if err != nil {
			w.key.Release()
			return nil, err
		}
		w.edks = append(w.edks, e)
	}
	w.id = k.id(w.edks, pairs)
	return w, nil
}

func (k *Keyring) encrypt(ctx context.Context, arn string, key *DataKey, pairs map[string]string) (EDK, error) {
	out, err := ask(ctx, k, opEncrypt, arn, KMS.Encrypt, &kms.EncryptInput{
		KeyId: aws.String(arn), Plaintext: key.bytes(), EncryptionContext: pairs, GrantTokens: k.o.GrantTokens})
	if err != nil {
		return EDK{}, err
	}
	return EDK{Provider: providerKMS, Info: arn, Blob: out.CiphertextBlob}, nil
}

// decrypt has the KMS key arn, and no other, open a wrapped data key.
func (k *Keyring) decrypt(ctx context.Context, arn string, blob []byte, pairs map[string]string) (*DataKey, error) {
	out, err := ask(ctx, k, opDecrypt, arn, KMS.Decrypt, &kms.DecryptInput{
		KeyId: aws.String(arn), CiphertextBlob: blob, EncryptionContext: pairs, GrantTokens: k.o.GrantTokens})
	if err != nil {
		return nil, err
	}
	return k.keep(out.Plaintext, out.KeyId, arn)
}

// reEncrypt has the data key of e, which the KMS key arn opens, wrapped under
// the KMS key to. KMS does that by itself within a region.
func (k *Keyring) reEncrypt(ctx context.Context, arn string, e EDK, pairs map[string]string, to string) (EDK, error) {
	if keyRegion(arn) != keyRegion(to) {
		key, err := k.decrypt(ctx, arn, e.Blob, pairs)
		if err != nil {
			return EDK{}, err
		}
		defer key.Release()
		return k.encrypt(ctx, to, key, pairs)
	}
	out, err := ask(ctx, k, opReEncrypt, arn, KMS.ReEncrypt, &kms.ReEncryptInput{
		SourceKeyId: aws.String(arn), CiphertextBlob: e.Blob, SourceEncryptionContext: pairs,
		DestinationKeyId: aws.String(to), DestinationEncryptionContext: pairs, GrantTokens: k.o.GrantTokens})
	if err != nil {
		return EDK{}, err
	}
	return EDK{Provider: providerKMS, Info: to, Blob: out.CiphertextBlob}, nil
}

// keep takes the data key that KMS answered into locked memory, and clears the
// answer. from is the KMS key that answered for arn; other servers than AWS's
// shorten it.
func (k *Keyring) keep(plain []byte, from *string, arn string) (*DataKey, error) {
	defer clear(plain)
	if len(plain) != dataKeySize {
		return nil, &KeyError{ID: arn, Reason: Mismatch, Detail: fmt.Sprintf("gave a data key of %d bytes, not %d", len(plain), dataKeySize)}
	}
	if keyID(aws.ToString(from)) != keyID(arn) {
		return nil, &KeyError{ID: arn, Reason: Mismatch, Detail: fmt.Sprintf("was asked, but %q answered", aws.ToString(from)),
			Remedy: "give the key's own ARN, and check the KMS endpoint"}
	}
	key, err := k.vault.store(plain, arn)
	if err != nil {
		return nil, &KeyError{ID: arn, Reason: Unanswered, Detail: "gave a data key that could not be kept", Err: err}
	}
	return key, nil
}

// keyRegion returns the region in the ARN of a KMS key.
func keyRegion(arn string) string { return strings.SplitN(arn, ":", 5)[3] }

// keyID returns what follows "key/" in the ARN of a KMS key.
func keyID(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
