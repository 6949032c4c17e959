// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/nvme/nvme_fake.h"
#include "drivers/nvme/nvme_spec.h"
#include "lib/base/endian.h"

static void tell_health(const struct nvme_fake *fake, uint8_t *data)
{
    data[0] = 4;
    store_le16(data + 1, 310);
    data[3] = 97;
    data[4] = 10;
    data[5] = 3;
    store_le64(data + 32, 1000);
    store_le64(data + 48, 2000);
    store_le64(data + 112, 5);
    store_le64(data + 144, 2);
    store_le64(data + 160, 1);
    store_le64(data + 176, fake->errors);
}

/* Error n was about block 1000 + n of namespace 1, told by queue 1. */
static void tell_errors(const struct nvme_fake *fake, uint8_t *data, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes / NVME_LOG_ERROR_BYTES && i < fake->errors; i++) {
        uint8_t *to = data + (size_t)i * NVME_LOG_ERROR_BYTES;
        store_le64(to, fake->errors - i);
        store_le16(to + 8, 1);
        store_le16(to + 12, 0x281u << 1 | 1u); /* with a phase, as a completion has it */
        store_le64(to + 16, 1000u + fake->errors - i);
        store_le32(to + 24, 1);
    }
}

bool nvme_fake_log(const struct nvme_fake *fake, uint32_t page, uint8_t *data, uint32_t bytes)
{
    if (page == NVME_LOG_HEALTH && bytes == NVME_LOG_HEALTH_BYTES) {
        tell_health(fake, data);
        return true;
    }
    if (page == NVME_LOG_ERRORS && bytes <= NVME_FAKE_ERRORS * NVME_LOG_ERROR_BYTES &&
        !fake->no_error_log) {
        tell_errors(fake, data, bytes);
        return true;
    }
    return false;
}
