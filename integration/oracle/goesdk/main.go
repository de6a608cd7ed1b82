package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	mplclient "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygenerated"
	mpl "github.com/aws/aws-cryptographic-material-providers-library/releases/go/mpl/awscryptographymaterialproviderssmithygeneratedtypes"
	esdkclient "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk/awscryptographyencryptionsdksmithygenerated"
	esdk "github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk/awscryptographyencryptionsdksmithygeneratedtypes"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "goesdk:", err)
		os.Exit(1)
	}
}

// run runs one command line.
func run(ctx context.Context, args []string) error {
	switch {
	case len(args) >= 4 && args[0] == "decrypt":
		return convert(args[2:], func(in []byte) ([]byte, error) { return decrypt(ctx, args[1], in) })
	case len(args) >= 5 && args[0] == "encrypt":
		var pairs map[string]string
		if err := json.Unmarshal([]byte(args[2]), &pairs); err != nil {
			return fmt.Errorf("read the encryption context %s: %w", args[2], err)
		}
		return convert(args[3:], func(in []byte) ([]byte, error) { return encrypt(ctx, args[1], pairs, in) })
	}
	return errors.New("usage: goesdk decrypt KEY_ARN IN OUT... | encrypt KEY_ARN CONTEXT_JSON IN OUT...")
}

// convert writes what f makes of each first file to the second one of its pair.
func convert(files []string, f func([]byte) ([]byte, error)) error {
	for pair := range slices.Chunk(files, 2) {
		in, err := os.ReadFile(pair[0])
		if err != nil {
			return err
		}
		out, err := f(in)
		if err != nil {
			return err
		}
		if err := os.WriteFile(pair[1], out, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func decrypt(ctx context.Context, key string, message []byte) ([]byte, error) {
	keyring, _, err := underKMS(ctx, key)
	if err != nil {
		return nil, err
	}
	client, err := newClient()
	if err != nil {
		return nil, err
	}
	out, err := client.Decrypt(ctx, esdk.DecryptInput{Ciphertext: message, Keyring: keyring})
	if err != nil {
		return nil, err
	}
	return out.Plaintext, nil
}

func encrypt(ctx context.Context, key string, pairs map[string]string, plain []byte) ([]byte, error) {
	generator, provider, err := underKMS(ctx, key)
	if err != nil {
		return nil, err
	}
	keyring, err := provider.CreateMultiKeyring(ctx, mpl.CreateMultiKeyringInput{
		Generator: generator, ChildKeyrings: []mpl.IKeyring{pad{}},
	})
	if err != nil {
		return nil, err
	}
	client, err := newClient()
	if err != nil {
		return nil, err
	}
	suite, frame := mpl.ESDKAlgorithmSuiteIdAlgAes256GcmHkdfSha512CommitKey, int64(frameLength)
	out, err := client.Encrypt(ctx, esdk.EncryptInput{
		Plaintext: plain, EncryptionContext: pairs, Keyring: keyring, AlgorithmSuiteId: &suite, FrameLength: &frame,
	})
	if err != nil {
		return nil, err
	}
	return out.Ciphertext, nil
}

// underKMS returns a keyring of one KMS key, and what makes further keyrings.
func underKMS(ctx context.Context, key string) (mpl.IKeyring, *mplclient.Client, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, nil, err
	}
	provider, err := mplclient.NewClient(mpl.MaterialProvidersConfig{})
	if err != nil {
		return nil, nil, err
	}
	keyring, err := provider.CreateAwsKmsKeyring(ctx, mpl.CreateAwsKmsKeyringInput{KmsClient: kms.NewFromConfig(cfg), KmsKeyId: key})
	return keyring, provider, err
}

// newClient returns a client that takes messages with key commitment only.
func newClient() (*esdkclient.Client, error) {
	policy := mpl.ESDKCommitmentPolicyRequireEncryptRequireDecrypt
	return esdkclient.NewClient(esdk.AwsEncryptionSdkConfig{CommitmentPolicy: &policy})
}
