// SPDX-License-Identifier: MIT OR Apache-2.0
/* /storage.json, for `./hallows storage`. */
#include "apps/kvstore/cell.h"

static void put(void *context, const void *data, size_t bytes)
{
    text_put(context, data, bytes);
}

static void put_contracts(const struct store *store, const struct account *account)
{
    const struct share *share = store->share;

    account_promises(account, share);
    account_print(account, ",\"contracts\":[");
    for (uint32_t i = 0; share != NULL && i < share->count; i++) {
        const struct share_tenant *tenant = &share->tenants[i];
        account_print(account, i != 0 ? "," : "");
        account_contract(account, store->contracts[i].name,
                         store->block == &tenant->block ? STORE_LOG_NAME : NULL, tenant,
                         tenant->block.block_count << tenant->block.block_shift);
    }
    account_print(account, "]");
}

/* The server's own drive, then what others told of theirs. What is asked for now is for whoever
 * asks next. */
void report_storage(void *context, struct text *text)
{
    struct kvstore *kvstore = context;
    struct store *store = &kvstore->store;
    const struct account account = {put, text};

    account_print(&account, "{\"accounts\":[{\"cell\":");
    account_text(&account, kvstore->info->name);
    nvme_account(&store->nvme, &account);
    put_contracts(store, &account);
    account_zones(&account, &store->zones);
    loglet_account(store->device, &account);
    account_print(&account, "}],\"told\":[");
    accounts_told(&kvstore->accounts, &account);
    account_print(&account, "]}");
    (void)nvme_ask(&store->nvme, kvstore_now(kvstore));
    zones_look(&store->zones, kvstore_now(kvstore));
    accounts_ask(&kvstore->accounts);
    store->quiet_until = 0;
}
