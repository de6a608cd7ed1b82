// The Encryption SDK for JavaScript as an oracle:
//
//	node oracle.mjs decrypt KEY_ARN IN OUT [IN OUT]...
//	node oracle.mjs encrypt KEY_ARN CONTEXT_JSON IN OUT [IN OUT]...
//
// KMS is asked where AWS_ENDPOINT_URL_KMS says, with the credentials of the
// environment. Nothing but the KMS key is known of a message that is opened.
import { createReadStream, createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import {
  AlgorithmSuiteIdentifier, buildClient, CommitmentPolicy, EncryptedDataKey, KeyringNode, KeyringTraceFlag,
  KmsKeyringNode, MultiKeyringNode,
} from '@aws-crypto/client-node'

const headerSize = 1024
const frameLength = 65536

const { decryptUnsignedMessageStream, encryptStream } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)

// A Pad adds a last data key of zeros, which fills the header to headerSize.
class Pad extends KeyringNode {
  async _onEncrypt(material) {
    const field = bytes => 2 + Buffer.byteLength(bytes)
    const context = Object.entries(material.encryptionContext)
    const edks = material.encryptedDataKeys
    const head = 1 + 2 + 32 + 2 + 2 + context.reduce((n, [k, v]) => n + field(k) + field(v), 0)
    const keys = 2 + edks.reduce((n, e) => n + field(e.providerId) + field(e.providerInfo) + field(e.encryptedDataKey), 0)
    const tail = 1 + 4 + 32 + 16
    const pad = headerSize - head - keys - tail - field('kmsfs-pad') - field('v1') - 2
    if (pad < 1) throw new Error(`the header is ${1 - pad} bytes too long`)
    return material.addEncryptedDataKey(
      new EncryptedDataKey({ providerId: 'kmsfs-pad', providerInfo: 'v1', encryptedDataKey: new Uint8Array(pad) }),
      KeyringTraceFlag.WRAPPING_KEY_ENCRYPTED_DATA_KEY)
  }

  async _onDecrypt(material) {
    return material
  }
}

// convert writes what a stream of make() makes of each IN to its OUT.
async function convert(make, files) {
  for (let i = 0; i < files.length; i += 2)
    await pipeline(createReadStream(files[i]), make(), createWriteStream(files[i + 1]))
}

const commands = {
  decrypt(key, ...files) {
    const keyring = new KmsKeyringNode({ keyIds: [key] })
    return convert(() => decryptUnsignedMessageStream(keyring), files)
  },
  encrypt(key, context, ...files) {
    const keyring = new MultiKeyringNode({ generator: new KmsKeyringNode({ generatorKeyId: key }), children: [new Pad()] })
    const suiteId = AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY
    return convert(() => encryptStream(keyring, { suiteId, frameLength, encryptionContext: JSON.parse(context) }), files)
  },
}

const [command, ...args] = process.argv.slice(2)
try {
  await commands[command](...args)
} catch (e) {
  console.error(e.message)
  process.exit(1)
}
